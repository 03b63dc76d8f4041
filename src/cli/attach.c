/* SPDX-License-Identifier: Apache-2.0 */
/* nacre attach and detach: disks of a running VM. */
#include "cli/vm_command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct attach_options {
    struct vm_command vm;
    json_t *disk; /* as vm.add-disk takes it */
    const char *id;
};

static int set_text(struct attach_options *options, const char *key, json_t *value,
                    struct error *error)
{
    return json_object_set_new(options->disk, key, value) < 0
               ? error_set(error, ENOMEM, "out of memory")
               : 0;
}

static int set_disk(void *target, const char *text, struct error *error)
{
    char *path = realpath(text, NULL);
    int result = set_text(target, "path", json_string(path ? path : text), error);
    free(path);
    return result;
}

static int set_id(void *target, const char *text, struct error *error)
{
    return set_text(target, "id", json_string(text), error);
}

static int set_format(void *target, const char *text, struct error *error)
{
    return set_text(target, "format", json_string(text), error);
}

static int set_read_only(void *target, const char *text, struct error *error)
{
    return set_text(target, "readonly", json_true(), error);
}

static int attach(struct vm_command *vm, struct error *error)
{
    const struct attach_options *options = (const struct attach_options *)vm;
    json_t *reply = NULL;
    const char *id = "?", *place = "?";
    if (!json_object_get(options->disk, "path"))
        return error_set(error, EINVAL, "--disk: is missing; say which image to attach");
    int result =
        vm_command_ask(&options->vm.directory, "PUT", "vm.add-disk", options->disk, &reply, error);
    if (result < 0)
        return result;
    json_unpack(reply, "{s:s, s:s}", "id", &id, "bdf", &place);
    printf("disk %s is at %s; nacre detach %s %s takes it out\n", id, place,
           options->vm.directory.name, id);
    json_decref(reply);
    return 0;
}

static int run_attach(int argc, char **argv)
{
    struct attach_options options = {.disk = json_object()};
    int code = vm_command_run(&command_attach, &options.vm, argc, argv, attach);
    json_decref(options.disk);
    return code;
}

static const struct option_spec attach_table[] = {
    {"disk", "PATH", "the image, raw or qcow2 without a backing image (required)", set_disk, NULL},
    {"id", "NAME", "what to call it (_diskN)", set_id, NULL},
    {"format", "FORMAT", "the image's format: raw or qcow2 (as its name says)", set_format, NULL},
    {"readonly", NULL, "the guest may only read it", set_read_only, NULL},
    {0},
};

const struct command command_attach = {
    .name = "attach",
    .summary = "give a running VM one more disk, until it is stopped",
    .usage = "NAME --disk PATH [OPTION...]",
    .examples = "  nacre attach web --disk data.qcow2 --id data\n",
    .options = attach_table,
    .run = run_attach,
    .argument = vm_command_argument,
};

static int set_names(void *target, const char *text, struct error *error)
{
    struct attach_options *options = target;
    if (!options->vm.name || options->id)
        return vm_command_argument(&options->vm, text, error);
    options->id = text;
    return 0;
}

static int detach(struct vm_command *vm, struct error *error)
{
    const struct attach_options *options = (const struct attach_options *)vm;
    if (!options->id)
        return error_set(error, EINVAL, "which disk? nacre show %s lists them", options->vm.name);
    json_t *body = json_pack("{s:s}", "id", options->id);
    int result =
        vm_command_ask(&options->vm.directory, "PUT", "vm.remove-device", body, NULL, error);
    json_decref(body);
    return result;
}

static int run_detach(int argc, char **argv)
{
    struct attach_options options = {0};
    return vm_command_run(&command_detach, &options.vm, argc, argv, detach);
}

const struct command command_detach = {
    .name = "detach",
    .summary = "ask a running VM to give up a disk that was attached",
    .usage = "NAME ID",
    .examples = "  nacre detach web data\n",
    .options = no_options,
    .run = run_detach,
    .argument = set_names,
};
