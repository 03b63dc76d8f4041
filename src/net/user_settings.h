/* SPDX-License-Identifier: Apache-2.0 */
/* What may follow --net user. */
#ifndef NACRE_NET_USER_SETTINGS_H
#define NACRE_NET_USER_SETTINGS_H

#include "base/error.h"

#include <netinet/in.h>
#include <stdbool.h>

#define USER_FORWARDS_MAX 64

/* A port of the host's that leads to one of the guest's. */
struct user_forward {
    const char *text; /* as it was given */
    bool udp;
    struct in_addr host, guest; /* 0: any; the one that DHCP gives */
    unsigned host_port, guest_port;
};

struct user_settings {
    bool restricted;
    struct in_addr network, mask, gateway, dhcp, dns; /* network byte order */
    const char *hostname, *domain;                    /* domain NULL: none */
    const char *tftp, *bootfile; /* a folder to be served; what DHCP tells to boot. NULL: none */
    struct user_forward forwards[USER_FORWARDS_MAX];
    unsigned forward_count;
};

/* text: cut up in place and pointed into; NULL: nothing but defaults. -errno with *error. */
int user_settings_parse(struct user_settings *settings, char *text, struct error *error);

#endif
