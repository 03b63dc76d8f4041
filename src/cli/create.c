/* SPDX-License-Identifier: Apache-2.0 */
/* nacre create: writes down what a VM is made of, and makes the disk that it owns. */
#include "base/bits.h"
#include "cli/image.h"
#include "cli/vm_command.h"
#include "cli/vm_options.h"
#include "manage/event.h"
#include "manage/seed.h"

#include <errno.h>
#include <string.h>

struct create_options {
    const char *name;
    const char *image;      /* what its disk begins as; NULL: it owns none */
    uint64_t image_size;    /* bytes; 0: the image's */
    const char *cloud_init; /* a file of user-data; NULL: none */
    json_t *config;
};

static int set_name(void *target, const char *text, struct error *error)
{
    struct create_options *create = target;
    if (create->name)
        return error_set(error, EINVAL, "%s: unexpected argument: the VM is %s", text,
                         create->name);
    create->name = text;
    return vm_name_check("VM", text, error);
}

static int set_image(void *target, const char *text, struct error *error)
{
    ((struct create_options *)target)->image = text;
    return 0;
}

static int set_image_size(void *target, const char *text, struct error *error)
{
    return size_parse("image-size", text, &((struct create_options *)target)->image_size, error);
}

static int set_cloud_init(void *target, const char *text, struct error *error)
{
    ((struct create_options *)target)->cloud_init = text;
    return 0;
}

static const struct option_spec option_table[] = {
    {"image", "FILE", "give it a disk of its own that begins as this image, which stays as it is",
     set_image, NULL},
    {"image-size", "SIZE", "size of that disk (the image's)", set_image_size, NULL},
    {"cloud-init", "FILE", "user-data for cloud-init: users, keys, commands of the first boot",
     set_cloud_init, NULL},
    {0},
};

static int set_option(void *target, const struct option_spec *option, const char *text,
                      struct error *error)
{
    struct create_options *create = target;
    bool ours = option >= option_table && option < option_table + ARRAY_SIZE(option_table);
    return ours ? option->set(create, text, error)
                : vm_options_set(create->config, option, text, error);
}

/* The disk is the first one, and what is booted from unless a kernel is given. */
static int make_disk(const struct create_options *create, const struct state_directory *directory,
                     struct error *error)
{
    char path[STATE_PATH_MAX];
    state_directory_file(directory, STATE_DISK, path);
    int result = image_create_overlay(path, create->image, create->image_size, error);
    return result < 0 ? result : config_add_own_disk(create->config, path, create->image, error);
}

static int make_seed(const struct create_options *create, const struct state_directory *directory,
                     struct error *error)
{
    char path[STATE_PATH_MAX], setting[STATE_PATH_MAX + 16];
    int result = seed_write(directory, create->cloud_init, error);
    state_directory_file(directory, STATE_SEED, path);
    snprintf(setting, sizeof(setting), "%s,readonly=on", path);
    return result < 0 ? result : config_set(create->config, "disk", setting, error);
}

static int write_down(const struct create_options *create, struct error *error)
{
    struct state_directory directory = {.fd = -1, .lock_fd = -1};
    int result = state_directory_create(&directory, create->name, error);
    if (result < 0) {
        state_directory_close(&directory);
        return result;
    }
    result = state_directory_lock(&directory, error);
    if (result == 0 && create->image)
        result = make_disk(create, &directory, error);
    if (result == 0 && create->cloud_init)
        result = make_seed(create, &directory, error);
    if (result == 0)
        result = vm_options_check(create->config, error);
    if (result == 0)
        result = config_save(&directory, create->config, error);
    if (result == 0)
        event_record(&directory, "created");
    else
        state_directory_delete(&directory, NULL);
    state_directory_close(&directory);
    return result;
}

static int run(int argc, char **argv)
{
    struct error error = {0};
    struct create_options create = {.config = json_object()};
    int result = options_parse(&command_create, &create, argc, argv, &error);
    if (result == 0 && !create.image)
        result = vm_options_check(create.config, &error);
    if (result == 0 && !create.name)
        result = error_set(&error, EINVAL, "the VM needs a name; see nacre create --help");
    if (result == 0) {
        config_complete(create.config);
        result = write_down(&create, &error);
    }
    json_decref(create.config);
    return command_end(result, &error);
}

const struct command command_create = {
    .name = "create",
    .summary = "make a VM that can be started by its name",
    .usage = "NAME [OPTION...]",
    .examples = "  nacre create db --image debian.qcow2 --cpus 2 --memory 1G\n"
                "  nacre create ci --image genericcloud.qcow2 --cloud-init user-data \\\n"
                "               --net user,hostfwd=tcp:127.0.0.1:2222-:22\n"
                "  nacre create web --kernel vmlinuz --initrd initrd.img --disk root.qcow2 \\\n"
                "               --append \"root=/dev/vda console=ttyS0\"\n",
    .options = option_table,
    .run = run,
    .argument = set_name,
    .each = set_option,
    .also = &command_run,
};
