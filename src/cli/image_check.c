/* SPDX-License-Identifier: Apache-2.0 */
/* nacre image check: is an image sound? */
#include "cli/image.h"

#include <errno.h>
#include <string.h>

static int set_repair(void *target, const char *text, struct error *error)
{
    struct image_options *options = target;
    if (!strcmp(text, "leaks"))
        options->repair = QCOW2_REPAIR_LEAKS;
    else if (!strcmp(text, "all"))
        options->repair = QCOW2_REPAIR_ALL;
    else
        return error_set(error, EINVAL, "--repair %s: must be leaks or all", text);
    return 0;
}

static const char *repair_word(unsigned index)
{
    static const char *const words[] = {"leaks", "all", NULL};
    return index < 2 ? words[index] : NULL;
}

static const struct option_spec option_table[] = {
    IMAGE_OPTION_FORMAT,
    {"repair", "WHAT", "leaks: give lost space back; all: count everything anew", set_repair,
     repair_word},
    {0},
};

static int report(const struct qcow2_check *check)
{
    printf("%llu clusters, %llu corrupt, %llu leaked, %llu repaired\n",
           (unsigned long long)check->clusters, (unsigned long long)check->corruptions,
           (unsigned long long)check->leaks, (unsigned long long)check->repaired);
    if (check->first[0])
        printf("first: %s\n", check->first);
    return check->corruptions + check->leaks > check->repaired ? EXIT_CODE_FINDINGS : EXIT_CODE_OK;
}

static int run(int argc, char **argv)
{
    struct image_options options;
    struct qcow2_check check;
    struct error error = {0};
    int code = EXIT_CODE_OK;
    int result = image_parse(&command_image_check, &options, argc, argv, 1, 1, &error);
    if (result)
        return image_end(NULL, result, &error);
    const struct block_options open = {.path = options.words[0],
                                       .format = options.format,
                                       .read_only = options.repair == QCOW2_REPAIR_NONE,
                                       .lenient = true,
                                       .no_backing = true};
    struct image *image = image_open(&open, &error);
    result = image ? 0 : -error.code;
    if (image && !image_is_qcow2(image))
        result = error_set(&error, EINVAL, "%s: is a raw image: there is nothing to check",
                           options.words[0]);
    if (result == 0)
        result = qcow2_check(image, options.repair, &check, &error);
    if (result == 0)
        code = report(&check);
    int ended = image_end(image, result, &error);
    return ended == EXIT_CODE_OK ? code : ended;
}

const struct command command_image_check = {
    .name = "image check",
    .summary = "look for lost and damaged clusters (exit code 1: found some)",
    .usage = "FILE [OPTION...]",
    .examples = "  nacre image check --repair leaks disk.qcow2\n",
    .options = option_table,
    .argument = image_add_word,
    .run = run,
};
