/* SPDX-License-Identifier: Apache-2.0 */
/* nacre image snapshot: internal snapshots of an image that no machine uses. */
#include "base/bits.h"
#include "cli/image.h"

#include <errno.h>
#include <string.h>

static const struct option_spec option_table[] = {{0}};

static const struct {
    const char *name;
    int (*act)(struct image *image, const char *name, struct error *error);
} actions[] = {
    {"create", qcow2_snapshot_create},
    {"apply", qcow2_snapshot_apply},
    {"delete", qcow2_snapshot_delete},
};

static int act(const struct image_options *options, struct image *image, struct error *error)
{
    if (!image_is_qcow2(image))
        return error_set(error, EINVAL, "%s: is a raw image, which has no snapshots",
                         options->words[1]);
    for (unsigned i = 0; i < ARRAY_SIZE(actions); i++)
        if (!strcmp(actions[i].name, options->words[0]))
            return actions[i].act(image, options->words[2], error);
    return error_set(error, EINVAL, "image snapshot %s: must be create, apply or delete",
                     options->words[0]);
}

static int run(int argc, char **argv)
{
    struct image_options options;
    struct error error = {0};
    struct image *image = NULL;
    int result = image_parse(&command_image_snapshot, &options, argc, argv, 3, 3, &error);
    if (result == 0) {
        image = image_open_word(options.words[1], NULL, false, true, &error);
        result = image ? act(&options, image, &error) : -error.code;
    }
    return image_end(image, result, &error);
}

const struct command command_image_snapshot = {
    .name = "image snapshot",
    .summary = "create, apply or delete a snapshot inside an image; info lists them",
    .usage = "create|apply|delete FILE NAME",
    .examples = "  nacre image snapshot create disk.qcow2 before-upgrade\n",
    .options = option_table,
    .argument = image_add_word,
    .run = run,
};
