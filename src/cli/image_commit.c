/* SPDX-License-Identifier: Apache-2.0 */
/* nacre image commit: what an overlay holds goes into its backing image. */
#include "cli/image.h"
#include "disk/copy.h"

#include <errno.h>
#include <limits.h>

static const struct option_spec option_table[] = {
    IMAGE_OPTION_FORMAT,
    IMAGE_OPTION_QUIET,
    {0},
};

static struct image *open_backing(struct image *overlay, struct error *error)
{
    char path[PATH_MAX];
    struct qcow2_info info;
    if (!image_is_qcow2(overlay)) {
        error_set(error, EINVAL, "%s: is a raw image, which has no backing image",
                  overlay->file->path);
        return NULL;
    }
    qcow2_get_info(overlay, &info);
    if (qcow2_backing_path(overlay, path, error) < 0)
        return NULL;
    return image_open_word(path, info.backing_format[0] ? info.backing_format : NULL, false, false,
                           error);
}

static int commit(const struct image_options *options, struct image *overlay, struct error *error)
{
    struct progress progress;
    struct image *backing = open_backing(overlay, error);
    if (!backing)
        return -error->code;
    int result =
        backing->size < overlay->size ? backing->ops->resize(backing, overlay->size, error) : 0;
    progress_init(&progress, "commit", options->quiet);
    if (result == 0)
        result = image_copy_own(
            overlay, backing,
            &(struct copy_progress){.advance = progress_advance, .opaque = &progress}, error);
    int closed = image_close(backing);
    if (result == 0 && closed < 0)
        result =
            error_set(error, -closed, "backing image of %s cannot be written", options->words[0]);
    /* Only now that all of it lasts elsewhere. */
    return result == 0 ? qcow2_empty(overlay, error) : result;
}

static int run(int argc, char **argv)
{
    struct image_options options;
    struct error error = {0};
    struct image *overlay = NULL;
    int result = image_parse(&command_image_commit, &options, argc, argv, 1, 1, &error);
    if (result == 0) {
        overlay = image_open_word(options.words[0], options.format, false, true, &error);
        result = overlay ? commit(&options, overlay, &error) : -error.code;
    }
    return image_end(overlay, result, &error);
}

const struct command command_image_commit = {
    .name = "image commit",
    .summary = "move what an image holds into its backing image",
    .usage = "FILE [OPTION...]",
    .examples = "  nacre image commit overlay.qcow2\n",
    .options = option_table,
    .argument = image_add_word,
    .run = run,
};
