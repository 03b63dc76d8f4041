/* SPDX-License-Identifier: Apache-2.0 */
#include "net/network.h"

#include "net/interface.h"
#include "net/network_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>

static int set_address(const struct network *network, struct error *error)
{
    const struct in_addr mask = {.s_addr = htonl(~0u << (32 - network->prefix))};
    return network->address.s_addr
               ? interface_set_address(network->name, network->address, mask, error)
               : 0;
}

static int build(const struct network *network, struct error *error)
{
    int result = bridge_create(network->name, error);
    if (result == 0)
        result = set_address(network, error);
    if (result == 0)
        result = interface_set_up(network->name, true, error);
    if (result == 0 && *network->uplink)
        result = bridge_add_port(network->name, network->uplink, error);
    return result == 0 && network->nat ? nat_start(network, error) : result;
}

int network_create(struct network *network, struct error *error)
{
    int result = interface_check_name(network->name, error);
    if (result == 0 && network->nat && !network->address.s_addr)
        result = network_choose_address(network, error);
    if (result == 0)
        result = network_write(network, error);
    if (result < 0)
        return result;
    /* Not ours to undo. */
    if (interface_exists(network->name)) {
        network_remove_file(network->name, NULL);
        return error_set(error, EEXIST, "network %s: the host has an interface of that name",
                         network->name);
    }
    result = build(network, error);
    if (result < 0)
        network_delete(network->name, NULL);
    return result;
}

int network_delete(const char *name, struct error *error)
{
    struct network network;
    int result = interface_check_name(name, error);
    if (result == 0)
        result = network_read(&network, name, error);
    if (result == 0 && network.nat)
        result = nat_stop(&network, error);
    if (result == 0 && network_port_count(name) >= 0)
        result = bridge_delete(name, error);
    return result == 0 ? network_remove_file(name, error) : result;
}
