/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap: a network interface of the host's whose other end is ours (Linux' networking/tuntap.rst).
 * Checksums and segmentation are left to the host's kernel in both directions. The interface is
 * made or found before the jail; after that there is nothing but read and write.
 */
#include "net/tap.h"

#include "base/settings.h"
#include "net/interface.h"
#include "net/link.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct tap_settings {
    const char *name, *bridge; /* NULL: the kernel chooses; none */
};

static int set_name(void *target, char *value, struct error *error)
{
    ((struct tap_settings *)target)->name = value;
    return interface_check_name(value, error);
}

static int set_bridge(void *target, char *value, struct error *error)
{
    ((struct tap_settings *)target)->bridge = value;
    return interface_check_name(value, error);
}

static const struct setting table[] = {{"name", set_name}, {"bridge", set_bridge}, {0}};

/* Makes the interface, or takes the one of that name that was made for this user. */
static int attach(int fd, const struct tap_settings *settings, struct ifreq *request,
                  struct error *error)
{
    const unsigned offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    const int header = sizeof(struct frame_header);
    *request = (struct ifreq){.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    strncpy(request->ifr_name, settings->name ? settings->name : "nacre%d", IFNAMSIZ - 1);
    if (ioctl(fd, TUNSETIFF, request) == 0 && ioctl(fd, TUNSETVNETHDRSZ, &header) == 0 &&
        ioctl(fd, TUNSETOFFLOAD, offloads) == 0)
        return 0;
    if (errno == EPERM)
        return error_set(
            error, EPERM,
            "--net tap: may not make an interface: be root, or let root run 'ip tuntap "
            "add NAME mode tap user YOU' and name it");
    return error_set(error, errno, "--net tap=%s: %s", request->ifr_name, strerror(errno));
}

static int open_interface(const struct tap_settings *settings, struct error *error)
{
    struct ifreq request;
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return error_set(error, errno, "--net tap: /dev/net/tun: %s", strerror(errno));
    int result = attach(fd, settings, &request, error);
    if (result == 0 && settings->bridge)
        result = bridge_add_port(settings->bridge, request.ifr_name, error);
    if (result == 0 && !interface_is_up(request.ifr_name))
        result = interface_set_up(request.ifr_name, true, error);
    if (result == 0)
        return fd;
    error_prefix(error, "--net tap");
    close(fd);
    return result;
}

struct frame_backend *tap_open(char *text, const struct frame_host *host, struct error *error)
{
    struct tap_settings settings = {0};
    if (settings_apply(table, &settings, "--net tap", text, error) < 0)
        return NULL;
    int fd = open_interface(&settings, error);
    return fd < 0 ? NULL : link_open(fd, "the tap", host, error);
}
