/* SPDX-License-Identifier: Apache-2.0 */
/* vm.counters: what vcpus, engines and disks have counted, an object a device. */
#include "control/control.h"
#include "vm/attach.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static json_t *device(json_t *counters, const char *name)
{
    json_t *object = json_object_get(counters, name);
    if (!object) {
        json_object_set_new(counters, name, json_object());
        object = json_object_get(counters, name);
    }
    return object;
}

/* "vcpu 0 translate: jumps linked: 12" becomes vcpu0.translate_jumps_linked = 12. */
static void add_line(json_t *counters, char *line)
{
    char name[16], *end = strrchr(line, ':');
    unsigned vcpu;
    int start = 0;
    if (!end || sscanf(line, "vcpu %u%n", &vcpu, &start) != 1)
        return;
    *end = '\0';
    char *key = line + start + strspn(line + start, ": ");
    size_t length = 0;
    for (const char *from = key; *from; from++) {
        bool letter = isalnum((unsigned char)*from);
        if (letter || (length && key[length - 1] != '_'))
            key[length++] = letter ? *from : '_';
    }
    key[length] = '\0';
    snprintf(name, sizeof(name), "vcpu%u", vcpu);
    json_object_set_new(device(counters, name), key, json_integer(strtoll(end + 1, NULL, 10)));
}

static int add_vcpus(struct vm *vm, json_t *counters, struct error *error)
{
    char *text = NULL;
    size_t size;
    FILE *lines = open_memstream(&text, &size);
    if (!lines)
        return error_set(error, ENOMEM, "vm.counters: out of memory");
    vm_print_stats(vm, lines);
    if (fclose(lines) == 0)
        for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
            add_line(counters, line);
    free(text);
    return 0;
}

/* The names are Cloud Hypervisor's. */
static void add_disks(const struct vm *vm, json_t *counters)
{
    static const struct {
        const char *operations, *bytes;
    } names[BLOCK_FINISH] = {
        [BLOCK_READ] = {"read_ops", "read_bytes"},
        [BLOCK_WRITE] = {"write_ops", "write_bytes"},
        [BLOCK_FLUSH] = {"flush_ops", NULL},
        [BLOCK_DISCARD] = {"discard_ops", "discard_bytes"},
        [BLOCK_WRITE_ZEROES] = {"write_zeroes_ops", "write_zeroes_bytes"},
    };
    for (unsigned i = 0; i < VM_DISKS_MAX + VM_ATTACH_MAX; i++) {
        const struct block_counters *disk = vm_disk_counters(vm, i);
        char name[16];
        if (!disk)
            continue;
        snprintf(name, sizeof(name), "_disk%u", i);
        json_t *object = device(counters, name);
        for (unsigned j = 0; j < BLOCK_FINISH; j++) {
            json_object_set_new(object, names[j].operations,
                                json_integer((json_int_t)disk->requests[j]));
            if (names[j].bytes)
                json_object_set_new(object, names[j].bytes,
                                    json_integer((json_int_t)disk->bytes[j]));
        }
    }
}

int control_counters(struct control_call *call, struct error *error)
{
    call->reply = json_object();
    int result = add_vcpus(call->vm, call->reply, error);
    add_disks(call->vm, call->reply);
    return result;
}
