/* SPDX-License-Identifier: Apache-2.0 */
/* VMs from snapshots: the same one again, or clones of it. */
#include "manage/config.h"
#include "manage/overlay.h"
#include "manage/snapshot.h"
#include "vm/vm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define SETTINGS_MAX 1024

static json_t *load_machine(const char *folder, struct error *error)
{
    char path[PATH_MAX + 16];
    json_error_t why;
    snprintf(path, sizeof(path), "%s/" SNAPSHOT_MACHINE, folder);
    json_t *machine = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    if (json_is_object(json_object_get(machine, "config")) &&
        json_is_array(json_object_get(machine, "disks")))
        return machine;
    json_decref(machine);
    error_set(error, EINVAL, "%s: %s", path, machine ? "is no description of a machine" : why.text);
    return NULL;
}

/* --- disks --- */

struct overlays {
    struct overlay_file files[VM_DISKS_MAX];
    unsigned count;
};

/* Where a snapshot's image is: its path is as seen from the snapshot. -errno with *error. */
static int find_image(const char *snapshot, const char *name, char path[PATH_MAX],
                      struct error *error)
{
    char joined[PATH_MAX];
    int length = snprintf(joined, sizeof(joined), "%s%s%s", *name == '/' ? "" : snapshot,
                          *name == '/' ? "" : "/", name);
    if (length < (int)sizeof(joined) && realpath(joined, path))
        return 0;
    return error_set(error, errno ? errno : ENAMETOOLONG, "%s: the snapshot needs it: %s", joined,
                     strerror(errno));
}

static int add_overlay(struct overlays *overlays, const json_t *frozen, const char *snapshot,
                       const char *folder, json_t *config, struct error *error)
{
    char path[PATH_MAX];
    struct overlay_below below = {0};
    json_int_t disk = -1, size = 0;
    if (json_unpack((json_t *)frozen, "{s:I, s:s, s:s, s:I}", "disk", &disk, "path", &below.path,
                    "format", &below.format, "size", &size) < 0 ||
        disk < 0 || (size_t)disk >= json_array_size(json_object_get(config, "disks")) ||
        overlays->count == VM_DISKS_MAX)
        return error_set(error, EINVAL, SNAPSHOT_MACHINE ": a disk is wrong");
    int result = find_image(snapshot, below.path, path, error);
    if (result < 0)
        return result;
    below.path = path;
    below.size = (uint64_t)size;
    struct overlay_file *overlay = &overlays->files[overlays->count];
    result = overlay_create(overlay, (unsigned)disk, &below, folder, error);
    if (result < 0)
        return result;
    overlays->count++;
    overlay_enter(overlay, config);
    return 0;
}

/* snapshot: its folder; folder: where the overlays go. */
static int add_overlays(struct overlays *overlays, const json_t *machine, const char *snapshot,
                        const char *folder, json_t *config, struct error *error)
{
    size_t index;
    json_t *frozen;
    int result = 0;
    json_array_foreach(json_object_get(machine, "disks"), index, frozen)
    {
        if (result == 0)
            result = add_overlay(overlays, frozen, snapshot, folder, config, error);
    }
    return result;
}

/* Made by overlay_create() in this folder? */
static bool is_overlay(const char *path, const char *folder)
{
    size_t length = strlen(folder);
    unsigned disk, number;
    int end = 0;
    return !strncmp(path, folder, length) &&
           sscanf(path + length, "/disk%u-%u.qcow2%n", &disk, &number, &end) == 2 && end &&
           !path[length + (size_t)end];
}

/* What the VM wrote since its last snapshot belongs to nothing any more. */
static void remove_old(const struct supervisor *supervisor, const json_t *config)
{
    const struct state_directory *directory = supervisor_directory(supervisor);
    const json_t *old = json_object_get(supervisor_config(supervisor), "disks");
    size_t index;
    json_t *disk;
    json_array_foreach(old, index, disk)
    {
        const char *path = json_string_value(json_object_get(disk, "path"));
        const json_t *now = json_array_get(json_object_get(config, "disks"), index);
        if (directory && path && is_overlay(path, directory->path) &&
            !json_equal(json_object_get(now, "path"), json_object_get(disk, "path")))
            unlink(path);
    }
}

/* --- what a clone has of its own --- */

/* A word that does not fit is left out. */
static void append(char *text, const char *word)
{
    size_t length = strlen(text), room = SETTINGS_MAX - length;
    if (snprintf(text + length, room, "%s%s", length ? "," : "", word) >= (int)room)
        text[length] = '\0';
}

/* hostfwd=tcp:127.0.0.1:2222-:22 with the host's port so many higher. */
static void append_forward(char *text, const char *word, unsigned copy)
{
    char changed[SETTINGS_MAX];
    const char *dash = strchr(word, '-'), *port = dash;
    while (port && port > word && port[-1] >= '0' && port[-1] <= '9')
        port--;
    if (!dash || port == dash)
        snprintf(changed, sizeof(changed), "%s", word);
    else
        snprintf(changed, sizeof(changed), "%.*s%lu%s", (int)(port - word), word,
                 strtoul(port, NULL, 10) + copy, dash);
    append(text, changed);
}

static void own_address(char *word, size_t size)
{
    uint8_t bytes[3];
    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        memset(bytes, 0, sizeof(bytes));
    snprintf(word, size, "mac=52:54:00:%02x:%02x:%02x", bytes[0], bytes[1], bytes[2]);
}

static void own_network(json_t *card, unsigned copy)
{
    char settings[SETTINGS_MAX] = "", old[SETTINGS_MAX], address[32];
    const char *text = json_string_value(json_object_get(card, "settings"));
    snprintf(old, sizeof(old), "%s", text ? text : "user");
    for (char *rest = old, *word; (word = strsep(&rest, ","));) {
        if (!strncmp(word, "hostfwd=", 8))
            append_forward(settings, word, copy);
        else if (strncmp(word, "mac=", 4))
            append(settings, word);
    }
    own_address(address, sizeof(address));
    append(settings, address);
    json_object_set_new(card, "settings", json_string(settings));
}

static void make_clone(json_t *config, json_t *origin, unsigned copy)
{
    size_t index;
    json_t *card;
    if (origin)
        json_object_set(config, CONFIG_PARENT, origin);
    json_array_foreach(json_object_get(config, "net"), index, card)
    {
        own_network(card, copy);
    }
}

/* --- both --- */

static int boot(struct supervisor *supervisor, const char *folder, json_t *config, unsigned copy,
                const char *by, supervisor_done *done, void *opaque, struct error *error)
{
    remove_old(supervisor, config);
    int result = supervisor_set_config(supervisor, config, error);
    return result == 0
               ? supervisor_boot_from(supervisor, folder, copy != 0, by, done, opaque, error)
               : result;
}

int snapshot_restore(struct supervisor *supervisor, const char *folder, unsigned copy,
                     const char *by, supervisor_done *done, void *opaque, struct error *error)
{
    const struct state_directory *directory = supervisor_directory(supervisor);
    struct overlays overlays = {0};
    json_t *machine = load_machine(folder, error);
    if (!machine)
        return -EINVAL;
    json_t *config = json_deep_copy(json_object_get(machine, "config"));
    int result = add_overlays(&overlays, machine, folder, directory ? directory->path : folder,
                              config, error);
    if (copy)
        make_clone(config, json_object_get(machine, "name"), copy);
    json_decref(machine);
    if (result < 0) {
        for (unsigned i = 0; i < overlays.count; i++)
            unlink(overlays.files[i].path);
        json_decref(config);
        return result;
    }
    return boot(supervisor, folder, config, copy, by, done, opaque, error);
}
