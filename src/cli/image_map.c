/* SPDX-License-Identifier: Apache-2.0 */
/* nacre image map: which parts of a disk lie where. */
#include "cli/image.h"
#include "disk/copy.h"

static const struct option_spec option_table[] = {IMAGE_OPTION_FORMAT, {0}};

static const char *const kinds[] = {[EXTENT_BACKING] = "nothing",
                                    [EXTENT_ZERO] = "zero",
                                    [EXTENT_DATA] = "data",
                                    [EXTENT_COMPRESSED] = "packed"};

static void print_extent(uint64_t offset, const struct extent *extent, const struct image *where,
                         unsigned depth)
{
    char place[24] = "-";
    if (extent->kind == EXTENT_DATA)
        snprintf(place, sizeof(place), "%#llx", (unsigned long long)extent->offset);
    printf("%#-16llx %#-16llx %-8s %-16s %u %s\n", (unsigned long long)offset,
           (unsigned long long)extent->length, kinds[extent->kind], place, depth,
           where ? where->file->path : "-");
}

static int print_map(struct image *image, struct error *error)
{
    printf("%-16s %-16s %-8s %-16s %s %s\n", "offset", "length", "kind", "in file", "depth",
           "file");
    for (uint64_t offset = 0; offset < image->size;) {
        struct extent extent;
        struct image *where;
        unsigned depth;
        int result = image_find(image, offset, image->size - offset, &extent, &where, &depth);
        if (result < 0)
            return error_set(error, -result, "%s: its map at %#llx is corrupt", image->file->path,
                             (unsigned long long)offset);
        print_extent(offset, &extent, where, depth);
        offset += extent.length;
    }
    return 0;
}

static int run(int argc, char **argv)
{
    struct image_options options;
    struct error error = {0};
    struct image *image = NULL;
    int result = image_parse(&command_image_map, &options, argc, argv, 1, 1, &error);
    if (result == 0) {
        image = image_open_word(options.words[0], options.format, true, false, &error);
        result = image ? print_map(image, &error) : -error.code;
    }
    return image_end(image, result, &error);
}

const struct command command_image_map = {
    .name = "image map",
    .summary = "list which parts of a disk lie where in which file",
    .usage = "FILE [OPTION...]",
    .examples = "  nacre image map overlay.qcow2\n",
    .options = option_table,
    .argument = image_add_word,
    .run = run,
};
