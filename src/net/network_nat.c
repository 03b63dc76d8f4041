/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes a bridge a way out: dnsmasq(8) gives addresses and answers names, nft(8) masquerades
 * and lets nobody in, and the kernel forwards. Each network has a table of its own, so that removal
 * touches nothing else.
 */
#include "net/network_private.h"
#include "net/program.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLDER      "dnsmasq"
#define FORWARDING  "/proc/sys/net/ipv4/ip_forward"
#define STOP_TRIES  200
#define STOP_NAP_US 10000

/* --- addresses --- */

static uint32_t mask_of(unsigned prefix)
{
    return ~0u << (32 - prefix);
}

static bool is_taken(const struct ifaddrs *interfaces, const struct network *network)
{
    uint32_t mask = mask_of(network->prefix);
    for (; interfaces; interfaces = interfaces->ifa_next) {
        const struct sockaddr_in *address = (const struct sockaddr_in *)interfaces->ifa_addr;
        const struct sockaddr_in *its = (const struct sockaddr_in *)interfaces->ifa_netmask;
        if (!address || address->sin_family != AF_INET)
            continue;
        uint32_t both = mask & (its ? ntohl(its->sin_addr.s_addr) : mask);
        if (!((ntohl(address->sin_addr.s_addr) ^ ntohl(network->address.s_addr)) & both))
            return true;
    }
    return false;
}

int network_choose_address(struct network *network, struct error *error)
{
    struct ifaddrs *interfaces = NULL;
    if (getifaddrs(&interfaces) < 0)
        return error_set(error, errno, "the host's addresses: %s", strerror(errno));
    int result = error_set(error, EADDRINUSE, "network %s: no free network; give it an --address",
                           network->name);
    network->prefix = 24;
    for (unsigned i = 0; i < 256 && result < 0; i++) {
        network->address.s_addr = htonl(10u << 24 | 77u << 16 | i << 8 | 1);
        if (!is_taken(interfaces, network))
            result = 0;
    }
    freeifaddrs(interfaces);
    return result;
}

/* The network's `host`th address, as text. */
static const char *host_text(const struct network *network, uint32_t host,
                             char text[INET_ADDRSTRLEN])
{
    uint32_t base = ntohl(network->address.s_addr) & mask_of(network->prefix);
    const struct in_addr address = {.s_addr = htonl(base + host)};
    return inet_ntop(AF_INET, &address, text, INET_ADDRSTRLEN);
}

/* --- dnsmasq --- */

/* The larger half of the network beside the bridge's own address. */
static void choose_range(const struct network *network, char range[2 * INET_ADDRSTRLEN + 8])
{
    char first[INET_ADDRSTRLEN], last[INET_ADDRSTRLEN];
    uint32_t size = ~mask_of(network->prefix), own = ntohl(network->address.s_addr) & size;
    bool above = own < size / 2;
    snprintf(range, 2 * INET_ADDRSTRLEN + 8, "%s,%s,12h",
             host_text(network, above ? own + 1 : 1, first),
             host_text(network, above ? size - 1 : own - 1, last));
}

static int dnsmasq_start(const struct network *network, struct error *error)
{
    char pid[NETWORK_PATH_MAX + 16], leases[NETWORK_PATH_MAX + 32], interface[IFNAMSIZ + 16];
    char path[NETWORK_PATH_MAX], range[2 * INET_ADDRSTRLEN + 8], dhcp[sizeof(range) + 16];
    int result = network_path(path, FOLDER, network->name, "", error);
    if (result < 0)
        return result;
    choose_range(network, range);
    snprintf(pid, sizeof(pid), "--pid-file=%s.pid", path);
    snprintf(leases, sizeof(leases), "--dhcp-leasefile=%s.leases", path);
    snprintf(interface, sizeof(interface), "--interface=%s", network->name);
    snprintf(dhcp, sizeof(dhcp), "--dhcp-range=%s", range);
    const char *const arguments[] = {"dnsmasq",
                                     "--conf-file=",
                                     "--bind-interfaces",
                                     "--except-interface=lo",
                                     "--dhcp-authoritative",
                                     pid,
                                     leases,
                                     interface,
                                     dhcp,
                                     NULL};
    return program_run(arguments, "", error);
}

/* Its process, if that is still it; 0: gone. */
static pid_t dnsmasq_pid(const char *pid_path)
{
    char line[512] = "", path[64];
    int pid = 0;
    FILE *file = fopen(pid_path, "re");
    if (!file)
        return 0;
    if (fscanf(file, "%d", &pid) != 1 || pid <= 1)
        pid = 0;
    fclose(file);
    snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
    int fd = pid ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t length = fd >= 0 ? read(fd, line, sizeof(line) - 1) : 0;
    if (fd >= 0)
        close(fd);
    for (ssize_t i = 0; i < length; i += (ssize_t)strlen(line + i) + 1)
        if (strstr(line + i, pid_path))
            return pid;
    return 0;
}

static int dnsmasq_stop(const char *name, struct error *error)
{
    char path[NETWORK_PATH_MAX];
    int result = network_path(path, FOLDER, name, ".pid", error);
    if (result < 0)
        return result;
    pid_t pid = dnsmasq_pid(path);
    if (pid)
        kill(pid, SIGTERM);
    for (unsigned i = 0; dnsmasq_pid(path) && i < STOP_TRIES; i++)
        usleep(STOP_NAP_US);
    if (dnsmasq_pid(path))
        return error_set(error, EBUSY, "network %s: dnsmasq, process %d, does not end", name,
                         (int)pid);
    unlink(path);
    if (network_path(path, FOLDER, name, ".leases", error) == 0)
        unlink(path);
    return 0;
}

/* --- nftables --- */

/* Adding an empty table first lets its deletion succeed when there is none. */
#define TABLE_DELETE "table ip nacre-%s\ndelete table ip nacre-%s\n"

static int nft(const char *rules, struct error *error)
{
    const char *const arguments[] = {"nft", "-f", "-", NULL};
    return program_run(arguments, rules, error);
}

static int masquerade_start(const struct network *network, struct error *error)
{
    char rules[1024], subnet[INET_ADDRSTRLEN];
    const char *name = network->name;
    snprintf(rules, sizeof(rules),
             TABLE_DELETE
             "table ip nacre-%s {\n"
             " chain postrouting {\n"
             "  type nat hook postrouting priority srcnat;\n"
             "  ip saddr %s/%u oifname != \"%s\" masquerade\n"
             " }\n"
             " chain forward {\n"
             "  type filter hook forward priority filter;\n"
             "  iifname != \"%s\" oifname \"%s\" ct state != { established, related } drop\n"
             " }\n"
             "}\n",
             name, name, name, host_text(network, 0, subnet), network->prefix, name, name, name);
    return nft(rules, error);
}

static int masquerade_stop(const char *name, struct error *error)
{
    char rules[128];
    snprintf(rules, sizeof(rules), TABLE_DELETE, name, name);
    return nft(rules, error);
}

/* --- forwarding --- */

static int write_forwarding(const char *value, struct error *error)
{
    int fd = open(FORWARDING, O_WRONLY | O_CLOEXEC);
    int result = fd >= 0 && write(fd, value, strlen(value)) > 0
                     ? 0
                     : error_set(error, errno, FORWARDING ": %s", strerror(errno));
    if (fd >= 0)
        close(fd);
    return result;
}

/* A file remembers that forwarding was off before the first network needed it. */
static int forwarding_start(struct error *error)
{
    char path[NETWORK_PATH_MAX], value = '1';
    int result = network_path(path, FOLDER, "forwarding-was-off", "", error);
    int fd = open(FORWARDING, O_RDONLY | O_CLOEXEC);
    if (result < 0 || (fd >= 0 && read(fd, &value, 1) < 0))
        value = '1';
    if (fd >= 0)
        close(fd);
    if (result < 0 || value == '1')
        return result;
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set(error, errno, "%s: %s", path, strerror(errno));
    close(fd);
    return write_forwarding("1", error);
}

static void count_nat(void *opaque, const struct network *network)
{
    *(unsigned *)opaque += network->nat;
}

static int forwarding_stop(struct error *error)
{
    char path[NETWORK_PATH_MAX];
    unsigned networks = 0; /* with the one that is going */
    int result = network_path(path, FOLDER, "forwarding-was-off", "", error);
    if (result == 0)
        result = network_list(count_nat, &networks, error);
    if (result < 0 || networks > 1 || access(path, F_OK) < 0)
        return result;
    result = write_forwarding("0", error);
    if (result == 0)
        unlink(path);
    return result;
}

int nat_start(const struct network *network, struct error *error)
{
    int result = masquerade_start(network, error);
    if (result == 0)
        result = dnsmasq_start(network, error);
    return result == 0 ? forwarding_start(error) : result;
}

int nat_stop(const struct network *network, struct error *error)
{
    int result = dnsmasq_stop(network->name, error);
    if (result == 0)
        result = masquerade_stop(network->name, error);
    return result == 0 ? forwarding_stop(error) : result;
}
