/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --net KIND[=NAME][,SETTING...]: what belongs to the card and what to every kind is taken here,
 * the rest is the kind's.
 */
#include "net/net.h"

#include "base/bits.h"
#include "base/number.h"
#include "base/settings.h"
#include "net/filter.h"
#include "net/process.h"
#include "net/switch.h"
#include "net/tap.h"
#include "net/user.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

static const struct frame_kind kinds[] = {
    {"user", true, user_open},
    {"tap", false, tap_open},
    {"switch", false, switch_open},
};

static int set_mac(void *target, char *value, struct error *error)
{
    struct net_options *options = target;
    unsigned bytes[MAC_SIZE];
    int used = 0;
    bool parsed = sscanf(value, "%2x:%2x:%2x:%2x:%2x:%2x%n", &bytes[0], &bytes[1], &bytes[2],
                         &bytes[3], &bytes[4], &bytes[5], &used) == MAC_SIZE &&
                  !value[used];
    if (!parsed || bytes[0] & 1)
        return error_set(error, EINVAL,
                         "--net mac=%s: write a single station's address, as 52:54:00:12:34:56",
                         value);
    for (unsigned i = 0; i < MAC_SIZE; i++)
        options->mac[i] = (uint8_t)bytes[i];
    return 0;
}

static int set_queues(void *target, char *value, struct error *error)
{
    return number_parse("net queues", value, 1, NET_QUEUES_MAX,
                        &((struct net_options *)target)->queue_pairs, error);
}

static int set_pcap(void *target, char *value, struct error *error)
{
    ((struct net_options *)target)->pcap = value;
    return 0;
}

static int set_model(void *target, char *value, struct error *error)
{
    struct net_options *options = target;
    options->model = strcmp(value, "e1000") ? NET_MODEL_VIRTIO : NET_MODEL_E1000;
    if (options->model == NET_MODEL_E1000 || !strcmp(value, "virtio"))
        return 0;
    return error_set(error, EINVAL, "--net model=%s: must be virtio or e1000", value);
}

static const struct setting common[] = {
    {"model", set_model}, {"mac", set_mac}, {"queues", set_queues}, {"pcap", set_pcap}, {0},
};

/* Machines that share a network must differ; where the guest is alone, it keeps its address from
 * start to start. */
static void choose_mac(struct net_options *options, unsigned index)
{
    const uint8_t alone[MAC_SIZE] = {0x52, 0x54, 0x00, 0x6e, 0x61, (uint8_t)(0x10 + index)};
    memcpy(options->mac, alone, sizeof(alone));
    if (!options->kind->own_process && getrandom(options->mac + 3, 3, 0) < 0)
        options->mac[3] = (uint8_t)~alone[3];
}

static int choose_kind(struct net_options *options, const char *name, struct error *error)
{
    char known[64] = "";
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (!strcmp(kinds[i].name, name)) {
            options->kind = &kinds[i];
            return 0;
        }
        snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s", i ? ", " : "",
                 kinds[i].name);
    }
    return error_set(error, EINVAL, "--net %s: unknown kind of network; known are %s", name, known);
}

/* Applies what is common; the other words go to `kept`, which has room for all. */
static int sort_words(struct net_options *options, char *rest, char *kept, struct error *error)
{
    size_t used = 0;
    int result = 0;
    for (char *word, *value; result >= 0 && (word = strsep(&rest, ","));) {
        const struct setting *setting = setting_find(common, word, &value);
        result = setting ? setting->set(options, value, error)
                         : rate_limit_setting(&options->limit, "net", word, error);
        if (setting || result)
            continue;
        size_t length = strlen(word);
        if (used)
            kept[used++] = ',';
        memcpy(kept + used, word, length + 1);
        used += length;
    }
    options->settings = used ? kept : NULL;
    return result < 0 ? result : 0;
}

int net_options_parse(struct net_options *options, const char *text, unsigned index,
                      struct error *error)
{
    *options = (struct net_options){.queue_pairs = 1};
    char *rest;
    /* "tap=tap0,..." is another way to write "tap,name=tap0,...". */
    size_t length = strcspn(text, ",="), room = strlen(text) + sizeof(",name");
    options->text = malloc(2 * room);
    if (!options->text)
        return error_set(error, ENOMEM, "--net: out of memory");
    snprintf(options->text, room, "%.*s%s%s", (int)length, text, text[length] == '=' ? ",name" : "",
             text + length);
    rest = options->text;
    int result = choose_kind(options, strsep(&rest, ","), error);
    if (result < 0)
        return result;
    choose_mac(options, index);
    return rest ? sort_words(options, rest, options->text + room, error) : 0;
}

void net_options_free(struct net_options *options)
{
    free(options->text);
    *options = (struct net_options){0};
}

struct frame_backend *net_open(const struct net_options *options, const struct frame_host *host,
                               struct error *error)
{
    struct frame_backend *backend =
        options->kind->own_process ? process_open(options->kind, options->settings, host, error)
                                   : options->kind->open(options->settings, host, error);
    if (backend && rate_limit_wanted(&options->limit))
        backend = limit_open(backend, &options->limit, host, error);
    return backend && options->pcap ? capture_open(backend, options->pcap, host, error) : backend;
}
