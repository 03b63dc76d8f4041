/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands below `nacre image` share: their options, and opening images. */
#ifndef NACRE_CLI_IMAGE_H
#define NACRE_CLI_IMAGE_H

#include "cli/cli.h"
#include "cli/progress.h"
#include "disk/qcow2/qcow2.h"

struct image_options {
    const char *words[3]; /* what is no option, in order */
    unsigned word_count;
    const char *format, *target_format, *backing, *backing_format, *snapshot_action;
    enum qcow2_repair repair;
    struct qcow2_create_options create;
    bool replace, shrink, unsafe, quiet;
};

/* One row each, for the tables of the commands. */
int image_set_format(void *target, const char *text, struct error *error);
int image_set_target_format(void *target, const char *text, struct error *error);
int image_set_quiet(void *target, const char *text, struct error *error);
int image_add_word(void *target, const char *text, struct error *error);
#define IMAGE_OPTION_FORMAT                                                        \
    {                                                                              \
        "format", "FORMAT", "the image's format: raw or qcow2 (as its name says)", \
            image_set_format, NULL                                                 \
    }
#define IMAGE_OPTION_QUIET                                      \
    {                                                           \
        "quiet", NULL, "no progress bar", image_set_quiet, NULL \
    }

/* Parses, and wants from `least` to `most` words. 0, 1 when help was shown, -errno. */
int image_parse(const struct command *command, struct image_options *options, int argc, char **argv,
                unsigned least, unsigned most, struct error *error);
struct image *image_open_word(const char *path, const char *format, bool read_only, bool no_backing,
                              struct error *error);
/* Closes, tells what went wrong until then or there, and gives the exit code. */
int image_end(struct image *image, int result, struct error *error);
/* A qcow2 image that begins as another; size 0: that one's. -errno with *error. */
int image_create_overlay(const char *path, const char *backing, uint64_t size, struct error *error);
/* "qcow2" or "raw": what is asked for, or what the path ends in. */
const char *image_format_for(const char *path, const char *format);

extern const struct command command_image_create, command_image_info, command_image_check,
    command_image_convert, command_image_resize, command_image_map, command_image_commit,
    command_image_rebase, command_image_snapshot;

#endif
