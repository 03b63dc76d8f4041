/* SPDX-License-Identifier: Apache-2.0 */
#include "net/interface.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

int interface_check_name(const char *name, struct error *error)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t length = strlen(name);
    if (length && length < IFNAMSIZ && strspn(name, allowed) == length && name[0] != '.' &&
        name[0] != '-')
        return 0;
    return error_set(error, EINVAL,
                     "%s: a network's name must be 1 to %d letters, digits, dots, dashes and "
                     "underscores",
                     name, IFNAMSIZ - 1);
}

static void fill(struct ifreq *request, const char *name)
{
    *request = (struct ifreq){0};
    strncpy(request->ifr_name, name, IFNAMSIZ - 1);
}

/* Asks the kernel; errno is left as it was after the call. */
static int ask(unsigned long command, void *argument)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int result = ioctl(fd, command, argument);
    int code = errno;
    close(fd);
    errno = code;
    return result;
}

static int failed(const char *name, const char *what, struct error *error)
{
    return error_set(error, errno, "%s: %s: %s%s", name, what, strerror(errno),
                     errno == EPERM ? " (be root)" : "");
}

bool interface_exists(const char *name)
{
    return if_nametoindex(name) != 0;
}

bool interface_is_up(const char *name)
{
    struct ifreq request;
    fill(&request, name);
    return ask(SIOCGIFFLAGS, &request) == 0 && request.ifr_flags & IFF_UP;
}

int interface_set_up(const char *name, bool up, struct error *error)
{
    struct ifreq request;
    fill(&request, name);
    if (ask(SIOCGIFFLAGS, &request) == 0) {
        request.ifr_flags = (short)(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
        if (ask(SIOCSIFFLAGS, &request) == 0)
            return 0;
    }
    return failed(name, up ? "cannot bring it up" : "cannot take it down", error);
}

static int set_one(const char *name, unsigned long command, struct in_addr address)
{
    struct ifreq request;
    const struct sockaddr_in value = {.sin_family = AF_INET, .sin_addr = address};
    fill(&request, name);
    memcpy(&request.ifr_addr, &value, sizeof(value));
    return ask(command, &request);
}

int interface_set_address(const char *name, struct in_addr address, struct in_addr mask,
                          struct error *error)
{
    if (set_one(name, SIOCSIFADDR, address) == 0 && set_one(name, SIOCSIFNETMASK, mask) == 0)
        return 0;
    return failed(name, "cannot set its address", error);
}

int bridge_create(const char *name, struct error *error)
{
    return ask(SIOCBRADDBR, (void *)name) == 0 ? 0 : failed(name, "cannot make the bridge", error);
}

int bridge_delete(const char *name, struct error *error)
{
    int result = interface_set_up(name, false, error);
    if (result == 0 && ask(SIOCBRDELBR, (void *)name) < 0)
        result = failed(name, "cannot remove the bridge", error);
    return result;
}

int bridge_add_port(const char *bridge, const char *interface, struct error *error)
{
    struct ifreq request;
    char member[64 + 2 * IFNAMSIZ];
    fill(&request, bridge);
    request.ifr_ifindex = (int)if_nametoindex(interface);
    if (request.ifr_ifindex && ask(SIOCBRADDIF, &request) == 0)
        return 0;
    int code = errno;
    snprintf(member, sizeof(member), "/sys/class/net/%s/brif/%s", bridge, interface);
    if (code == EBUSY && access(member, F_OK) == 0)
        return 0;
    errno = code;
    return failed(bridge, "cannot join the bridge", error);
}
