/* SPDX-License-Identifier: Apache-2.0 */
#include "net/user_settings.h"

#include "base/settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHAT       "--net user"
#define PREFIX_MIN 8
#define PREFIX_MAX 27 /* leaves room for the addresses below */

/* Hosts in the network, as users of other user-mode NATs expect them. */
enum { HOST_GATEWAY = 2, HOST_DNS = 3, HOST_DHCP = 15 };

static int set_restrict(void *target, char *value, struct error *error)
{
    return setting_switch(WHAT ",restrict", value, &((struct user_settings *)target)->restricted,
                          error);
}

/* "127.0.0.1:2222", the address optional, up to `end`. */
static bool parse_end(char *text, struct in_addr *address, unsigned *port)
{
    char *colon = strrchr(text, ':'), *end;
    if (!colon || colon[1] < '0' || colon[1] > '9')
        return false;
    *colon = 0;
    unsigned long number = strtoul(colon + 1, &end, 10);
    *port = (unsigned)number;
    address->s_addr = INADDR_ANY;
    return !*end && number <= 65535 && (!*text || inet_aton(text, address));
}

/* "tcp:127.0.0.1:2222-10.0.2.15:22"; both addresses may be left out. */
static int set_hostfwd(void *target, char *value, struct error *error)
{
    struct user_settings *settings = target;
    if (settings->forward_count == USER_FORWARDS_MAX)
        return error_set(error, EINVAL, WHAT ",hostfwd=%s: at most %d forwards", value,
                         USER_FORWARDS_MAX);
    struct user_forward *forward = &settings->forwards[settings->forward_count++];
    char copy[64], *guest = copy;
    *forward = (struct user_forward){.text = value, .udp = !strncmp(value, "udp:", 4)};
    bool fits = (forward->udp || !strncmp(value, "tcp:", 4)) &&
                snprintf(copy, sizeof(copy), "%s", value + 4) < (int)sizeof(copy);
    char *host = fits ? strsep(&guest, "-") : NULL;
    if (!host || !guest || !parse_end(host, &forward->host, &forward->host_port) ||
        !parse_end(guest, &forward->guest, &forward->guest_port))
        return error_set(error, EINVAL, WHAT ",hostfwd=%s: write it as tcp:127.0.0.1:2222-:22",
                         value);
    return 0;
}

static struct in_addr host_in(const struct user_settings *settings, uint32_t host)
{
    return (struct in_addr){.s_addr = settings->network.s_addr | htonl(host)};
}

static int set_network(void *target, char *value, struct error *error)
{
    struct user_settings *settings = target;
    char *bits = value, *end = NULL;
    const char *address = strsep(&bits, "/");
    unsigned long prefix = bits ? strtoul(bits, &end, 10) : 0;
    if (!bits || *end || prefix < PREFIX_MIN || prefix > PREFIX_MAX ||
        !inet_aton(address, &settings->network))
        return error_set(error, EINVAL,
                         WHAT ",network=%s: write it as 10.0.2.0/24, with %d to %d bits", address,
                         PREFIX_MIN, PREFIX_MAX);
    settings->mask.s_addr = htonl(~0u << (32 - prefix));
    settings->network.s_addr &= settings->mask.s_addr;
    return 0;
}

static int set_dns(void *target, char *value, struct error *error)
{
    if (inet_aton(value, &((struct user_settings *)target)->dns))
        return 0;
    return error_set(error, EINVAL, WHAT ",dns=%s: is not an IPv4 address", value);
}

static int set_hostname(void *target, char *value, struct error *error)
{
    ((struct user_settings *)target)->hostname = value;
    return 0;
}

static int set_domain(void *target, char *value, struct error *error)
{
    ((struct user_settings *)target)->domain = value;
    return 0;
}

static int set_tftp(void *target, char *value, struct error *error)
{
    ((struct user_settings *)target)->tftp = value;
    return 0;
}

static int set_bootfile(void *target, char *value, struct error *error)
{
    ((struct user_settings *)target)->bootfile = value;
    return 0;
}

static const struct setting table[] = {
    {"tftp", set_tftp},         {"bootfile", set_bootfile}, {"hostfwd", set_hostfwd},
    {"restrict", set_restrict}, {"network", set_network},   {"dns", set_dns},
    {"hostname", set_hostname}, {"domain", set_domain},     {0},
};

int user_settings_parse(struct user_settings *settings, char *text, struct error *error)
{
    *settings = (struct user_settings){.hostname = "nacre"};
    int result = set_network(settings, (char[]){"10.0.2.0/24"}, error);
    if (result == 0)
        result = settings_apply(table, settings, WHAT, text, error);
    settings->gateway = host_in(settings, HOST_GATEWAY);
    settings->dhcp = host_in(settings, HOST_DHCP);
    if (!settings->dns.s_addr)
        settings->dns = host_in(settings, HOST_DNS);
    return result;
}
