/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the host's networks share. All return -errno with *error. */
#ifndef NACRE_NET_NETWORK_PRIVATE_H
#define NACRE_NET_NETWORK_PRIVATE_H

#include "net/network.h"

/* The path of a file about a network: by its runtime folder, and its ending as ".pid". */
int network_path(char path[NETWORK_PATH_MAX], const char *part, const char *name,
                 const char *ending, struct error *error);
/* Fails when there is one of that name. */
int network_write(const struct network *network, struct error *error);
int network_remove_file(const char *name, struct error *error);
int network_read(struct network *network, const char *name, struct error *error);

/* An address that no interface of the host's has, nor its network. */
int network_choose_address(struct network *network, struct error *error);

/* DHCP and DNS, masquerading, forwarding; and their end, also of what is there only in part. */
int nat_start(const struct network *network, struct error *error);
int nat_stop(const struct network *network, struct error *error);

#endif
