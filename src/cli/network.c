/* SPDX-License-Identifier: Apache-2.0 */
/* nacre network: bridges of the host's for guests with taps. */
#include "cli/cli.h"

#include "base/bits.h"
#include "net/network.h"

#include <arpa/inet.h>
#include <errno.h>

static int set_kind(struct network *network, const char *name, bool nat, struct error *error)
{
    if (*network->name)
        return error_set(error, EINVAL, "--%s %s: one network at a time", nat ? "nat" : "bridge",
                         name);
    if (strlen(name) >= sizeof(network->name))
        return error_set(error, EINVAL, "%s: is too long for the name of a network", name);
    memcpy(network->name, name, strlen(name));
    network->nat = nat;
    return 0;
}

static int set_bridge(void *target, const char *text, struct error *error)
{
    return set_kind(target, text, false, error);
}

static int set_nat(void *target, const char *text, struct error *error)
{
    return set_kind(target, text, true, error);
}

static int set_address(void *target, const char *text, struct error *error)
{
    int result = network_parse_address(target, text, error);
    return result < 0 ? error_prefix(error, "--address") : result;
}

static int set_uplink(void *target, const char *text, struct error *error)
{
    struct network *network = target;
    if (strlen(text) >= sizeof(network->uplink))
        return error_set(error, EINVAL, "--uplink %s: no interface has such a name", text);
    memcpy(network->uplink, text, strlen(text) + 1);
    return 0;
}

static int add_name(void *target, const char *text, struct error *error)
{
    const char **name = target;
    if (*name)
        return error_set(error, EINVAL, "%s: one network at a time", text);
    *name = text;
    return 0;
}

static int finish(int result, const struct error *error)
{
    if (result >= 0)
        return EXIT_CODE_OK;
    fprintf(stderr, "nacre: %s\n", error->message);
    return EXIT_CODE_CONFIGURATION;
}

static int run_create(int argc, char **argv)
{
    struct network network = {0};
    struct error error = {0};
    int result = options_parse(&command_network_create, &network, argc, argv, &error);
    if (result == 0 && !*network.name)
        result = error_set(&error, EINVAL, "network create: say --nat NAME or --bridge NAME");
    if (result == 0)
        result = network_create(&network, &error);
    return finish(result, &error);
}

static void show(void *opaque, const struct network *network)
{
    char address[INET_ADDRSTRLEN + 4] = "-";
    int ports = network_port_count(network->name);
    if (network->address.s_addr) {
        inet_ntop(AF_INET, &network->address, address, sizeof(address));
        snprintf(address + strlen(address), sizeof(address) - strlen(address), "/%u",
                 network->prefix);
    }
    printf("%-16s %-7s %-19s %-16s ", network->name, network->nat ? "nat" : "bridge", address,
           *network->uplink ? network->uplink : "-");
    if (ports >= 0)
        printf("%d\n", ports);
    else
        printf("gone\n");
}

static int run_list(int argc, char **argv)
{
    struct error error = {0};
    int result = options_parse(&command_network_list, NULL, argc, argv, &error);
    if (result)
        return finish(result, &error);
    printf("%-16s %-7s %-19s %-16s %s\n", "NAME", "KIND", "ADDRESS", "UPLINK", "PORTS");
    return finish(network_list(show, NULL, &error), &error);
}

static int run_delete(int argc, char **argv)
{
    const char *name = NULL;
    struct error error = {0};
    int result = options_parse(&command_network_delete, &name, argc, argv, &error);
    if (result == 0 && !name)
        result = error_set(&error, EINVAL, "network delete: say which");
    if (result == 0)
        result = network_delete(name, &error);
    return finish(result, &error);
}

static const struct option_spec create_options[] = {
    {"nat", "NAME", "a bridge with an address, DHCP, DNS and a way out behind the host's address",
     set_nat, NULL},
    {"bridge", "NAME", "a bridge; what it joins is up to you and --uplink", set_bridge, NULL},
    {"address", "ADDRESS/BITS", "the bridge's own (with --nat: a free one; else none)", set_address,
     NULL},
    {"uplink", "INTERFACE", "an interface of the host's to join to the bridge", set_uplink, NULL},
    {0},
};

const struct command command_network_create = {
    .name = "network create",
    .summary = "make a bridge, with --nat also address, DHCP, DNS and masquerading",
    .usage = "--nat NAME | --bridge NAME [OPTION...]",
    .examples = "  nacre network create --nat lab\n"
                "  nacre network create --bridge br0 --uplink eth1\n"
                "  nacre run --kernel vmlinuz --net tap,bridge=lab\n",
    .options = create_options,
    .run = run_create,
};

const struct command command_network_list = {
    .name = "network list",
    .summary = "show the networks and how many interfaces each joins",
    .usage = "",
    .examples = "  nacre network list\n",
    .options = no_options,
    .run = run_list,
};

const struct command command_network_delete = {
    .name = "network delete",
    .summary = "remove a network and all that came with it",
    .usage = "NAME",
    .examples = "  nacre network delete lab\n",
    .options = no_options,
    .run = run_delete,
    .argument = add_name,
};

static const struct command *const parts[] = {
    &command_network_create,
    &command_network_list,
    &command_network_delete,
    NULL,
};

static int run(int argc, char **argv)
{
    return command_run_part(&command_network, argc, argv);
}

const struct command command_network = {
    .name = "network",
    .summary = "make, list and remove networks of the host's for guests (root)",
    .usage = "COMMAND [OPTION...]",
    .examples = "  nacre network create --nat lab\n"
                "  nacre network list\n",
    .options = no_options,
    .parts = parts,
    .run = run,
};
