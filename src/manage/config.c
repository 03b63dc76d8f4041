/* SPDX-License-Identifier: Apache-2.0 */
#include "manage/config.h"

#include "base/bits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- words --- */

/* A word that did not fit in memory leaves a hole, which arguments_complete() sees. */
void arguments_add(struct arguments *arguments, const char *format, ...)
{
    char *word = NULL;
    va_list values;
    char **words = realloc(arguments->words, (arguments->count + 2) * sizeof(*words));
    if (!words)
        return;
    va_start(values, format);
    if (vasprintf(&word, format, values) < 0)
        word = NULL;
    va_end(values);
    arguments->words = words;
    words[arguments->count] = word;
    words[++arguments->count] = NULL;
}

bool arguments_complete(const struct arguments *arguments)
{
    for (unsigned i = 0; i < arguments->count; i++)
        if (!arguments->words[i])
            return false;
    return arguments->words;
}

void arguments_free(struct arguments *arguments)
{
    for (unsigned i = 0; i < arguments->count; i++)
        free(arguments->words[i]);
    free(arguments->words);
    *arguments = (struct arguments){0};
}

/* --- which option is which field --- */

/* FIELD_WORD: a path if it has a slash. */
enum field_kind { FIELD_TEXT, FIELD_WORD, FIELD_PATH, FIELD_NUMBER };

static const struct field {
    const char *option, *object, *key;
    enum field_kind kind;
} fields[] = {
    {"kernel", "payload", "kernel", FIELD_PATH},  {"initrd", "payload", "initramfs", FIELD_PATH},
    {"append", "payload", "cmdline", FIELD_TEXT}, {"cpus", "cpus", "boot_vcpus", FIELD_NUMBER},
    {"memory", "memory", "size", FIELD_NUMBER},   {"firmware", "payload", "firmware", FIELD_WORD},
};

/* Devices that one may have several of: a place and more settings, separated by commas. */
static const struct list {
    const char *option, *array;
    const char *place; /* the first word's key; NULL: it is a setting like the others */
} lists[] = {{"disk", "disks", "path"}, {"net", "net", NULL}};

/* What Cloud Hypervisor's clients may send along, and what needs no word here. */
static const char *const tolerated[] = {"console", "rng", "serial"};

/* The path as every process finds it, wherever it was started. */
static json_t *path_value(const char *text)
{
    char *path = strchr(text, ':') ? NULL : realpath(text, NULL);
    json_t *value = json_string(path ? path : text);
    free(path);
    return value;
}

static int out_of_memory(struct error *error)
{
    return error_set(error, ENOMEM, "out of memory");
}

/* The member of an object or array, made when it is not there. */
static json_t *member(json_t *config, const char *key, json_t *(*make)(void))
{
    json_t *value = json_object_get(config, key);
    if (value)
        return value;
    json_object_set_new(config, key, make());
    return json_object_get(config, key);
}

static int set_field(json_t *config, const struct field *field, const char *text,
                     struct error *error)
{
    bool path = field->kind == FIELD_PATH || (field->kind == FIELD_WORD && strchr(text, '/'));
    json_t *value = field->kind == FIELD_NUMBER ? json_integer(strtoll(text, NULL, 10))
                    : path                      ? path_value(text)
                                                : json_string(text);
    json_t *object = member(config, field->object, json_object);
    return json_object_set_new(object, field->key, value) < 0 ? out_of_memory(error) : 0;
}

static int add_device(json_t *config, const struct list *list, const char *text,
                      struct error *error)
{
    json_t *device = json_object();
    size_t length = list->place ? strcspn(text, ",") : 0;
    if (list->place) {
        char *place = strndup(text, length);
        if (place)
            json_object_set_new(device, list->place, path_value(place));
        free(place);
        text += length + (text[length] == ',');
    }
    if (*text)
        json_object_set_new(device, "settings", json_string(text));
    json_t *array = member(config, list->array, json_array);
    return json_array_append_new(array, device) < 0 ? out_of_memory(error) : 0;
}

static int set_other(json_t *config, const char *option, const char *text, struct error *error)
{
    json_t *options = member(config, "options", json_object);
    json_t *value = text ? json_string(text) : json_true();
    return json_object_set_new(options, option, value) < 0 ? out_of_memory(error) : 0;
}

int config_set(json_t *config, const char *option, const char *text, struct error *error)
{
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
        if (!strcmp(fields[i].option, option))
            return set_field(config, &fields[i], text, error);
    for (unsigned i = 0; i < ARRAY_SIZE(lists); i++)
        if (!strcmp(lists[i].option, option))
            return add_device(config, &lists[i], text, error);
    return set_other(config, option, text, error);
}

int config_drop(json_t *config, const char *option, struct error *error)
{
    int result = json_object_del(json_object_get(config, "options"), option);
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
        if (!strcmp(fields[i].option, option))
            result = json_object_del(json_object_get(config, fields[i].object), fields[i].key);
    for (unsigned i = 0; i < ARRAY_SIZE(lists); i++)
        if (!strcmp(lists[i].option, option))
            result = json_object_del(config, lists[i].array);
    return result < 0 ? error_set(error, ENOENT, "--drop %s: it is not set", option) : 0;
}

int config_add_own_disk(json_t *config, const char *path, const char *origin, struct error *error)
{
    json_t *payload = member(config, "payload", json_object);
    json_t *disks = member(config, lists[0].array, json_array);
    if (!json_object_get(payload, "kernel") && !json_object_get(payload, "firmware"))
        json_object_set_new(payload, "firmware", json_string("bios"));
    if (json_array_insert_new(disks, 0, json_pack("{s:s}", lists[0].place, path)) < 0 ||
        json_object_set_new(config, CONFIG_PARENT, path_value(origin)) < 0)
        return out_of_memory(error);
    return 0;
}

void config_move_disks(json_t *config, const char *from, const char *to)
{
    size_t index, length = strlen(from);
    json_t *disk;
    json_array_foreach(json_object_get(config, lists[0].array), index, disk)
    {
        const char *path = json_string_value(json_object_get(disk, lists[0].place));
        if (path && !strncmp(path, from, length) && path[length] == '/')
            json_object_set_new(disk, lists[0].place, json_sprintf("%s%s", to, path + length));
    }
}

void config_remove_disk(json_t *config, const char *id)
{
    json_t *disks = json_object_get(config, lists[0].array), *disk;
    size_t index;
    json_array_foreach(disks, index, disk)
    {
        const char *name = json_string_value(json_object_get(disk, "id"));
        if (name && !strcmp(name, id)) {
            json_array_remove(disks, index);
            return;
        }
    }
}

void config_complete(json_t *config)
{
    json_t *cpus = member(config, "cpus", json_object);
    json_t *memory = member(config, "memory", json_object);
    if (!json_object_get(cpus, "boot_vcpus"))
        json_object_set_new(cpus, "boot_vcpus", json_integer(1));
    if (!json_object_get(memory, "size"))
        json_object_set_new(memory, "size", json_integer(CONFIG_MEMORY_DEFAULT));
}

/* --- from fields to options --- */

static int wrong(struct error *error, const char *where, const char *key, const char *must)
{
    return error_set(error, EINVAL, "%s.%s: must be %s", where, key, must);
}

static int field_argument(const json_t *config, const struct field *field,
                          struct arguments *arguments, struct error *error)
{
    const json_t *value = json_object_get(json_object_get(config, field->object), field->key);
    if (!value || json_is_null(value))
        return 0;
    if (field->kind == FIELD_NUMBER && !json_is_integer(value))
        return wrong(error, field->object, field->key, "a number");
    if (field->kind != FIELD_NUMBER && !json_is_string(value))
        return wrong(error, field->object, field->key, "a text");
    if (field->kind == FIELD_NUMBER)
        arguments_add(arguments, "--%s=%lld", field->option, (long long)json_integer_value(value));
    else
        arguments_add(arguments, "--%s=%s", field->option, json_string_value(value));
    return 0;
}

static int device_argument(const json_t *device, const struct list *list,
                           struct arguments *arguments, struct error *error)
{
    const char *place = "", *settings = "";
    int read_only = 0;
    if (json_unpack((json_t *)device, "{s?s, s?s, s?b}", list->place ? list->place : "id", &place,
                    "settings", &settings, "readonly", &read_only) < 0 ||
        (list->place && (!*place || strchr(place, ','))))
        return error_set(error, EINVAL, "%s: an entry is wrong: it has \"%s\" and \"settings\"",
                         list->array, list->place ? list->place : "id");
    if (list->place)
        arguments_add(arguments, "--%s=%s%s%s%s", list->option, place,
                      read_only ? ",readonly=on" : "", *settings ? "," : "", settings);
    else
        arguments_add(arguments, "--%s=%s", list->option, *settings ? settings : "user");
    return 0;
}

static int list_arguments(const json_t *config, const struct list *list,
                          struct arguments *arguments, struct error *error)
{
    const json_t *array = json_object_get(config, list->array);
    size_t index;
    json_t *device;
    if (array && !json_is_array(array) && !json_is_null(array))
        return error_set(error, EINVAL, "%s: must be a list", list->array);
    json_array_foreach(array, index, device)
    {
        int result = device_argument(device, list, arguments, error);
        if (result < 0)
            return result;
    }
    return 0;
}

static int other_arguments(const json_t *config, struct arguments *arguments, struct error *error)
{
    json_t *options = json_object_get(config, "options");
    const char *option;
    json_t *value;
    if (options && !json_is_object(options))
        return error_set(error, EINVAL, "options: must be an object");
    json_object_foreach(options, option, value)
    {
        if (json_is_true(value))
            arguments_add(arguments, "--%s", option);
        else if (json_is_string(value))
            arguments_add(arguments, "--%s=%s", option, json_string_value(value));
        else
            return wrong(error, "options", option, "a text or true");
    }
    return 0;
}

static bool known(const char *key)
{
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
        if (!strcmp(fields[i].object, key))
            return true;
    for (unsigned i = 0; i < ARRAY_SIZE(lists); i++)
        if (!strcmp(lists[i].array, key))
            return true;
    for (unsigned i = 0; i < ARRAY_SIZE(tolerated); i++)
        if (!strcmp(tolerated[i], key))
            return true;
    return !strcmp(key, "options") || !strcmp(key, CONFIG_PARENT);
}

int config_arguments(const json_t *config, struct arguments *arguments, struct error *error)
{
    const char *key;
    json_t *value;
    int result = 0;
    json_object_foreach((json_t *)config, key, value) if (!known(key)) return error_set(
        error, EINVAL, "%s: nacre knows no such part of a VM", key);
    for (unsigned i = 0; i < ARRAY_SIZE(fields) && result == 0; i++)
        result = field_argument(config, &fields[i], arguments, error);
    for (unsigned i = 0; i < ARRAY_SIZE(lists) && result == 0; i++)
        result = list_arguments(config, &lists[i], arguments, error);
    return result == 0 ? other_arguments(config, arguments, error) : result;
}

/* --- the file --- */

json_t *config_load(const struct state_directory *directory, struct error *error)
{
    json_error_t why;
    int fd = openat(directory->fd, STATE_CONFIG, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        error_set(error, errno, "%s/" STATE_CONFIG ": %s", directory->path, strerror(errno));
        return NULL;
    }
    json_t *config = json_loadfd(fd, JSON_REJECT_DUPLICATES, &why);
    close(fd);
    if (json_is_object(config))
        return config;
    json_decref(config);
    error_set(error, EINVAL, "%s/" STATE_CONFIG ": line %d: %s", directory->path, why.line,
              config ? "is no object" : why.text);
    return NULL;
}

int config_save(const struct state_directory *directory, const json_t *config, struct error *error)
{
    char *text = json_dumps(config, JSON_INDENT(2));
    int result =
        text ? state_directory_write(directory, STATE_CONFIG, text, error) : out_of_memory(error);
    free(text);
    return result;
}
