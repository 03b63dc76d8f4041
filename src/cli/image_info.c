/* SPDX-License-Identifier: Apache-2.0 */
/* nacre image info: what an image is. */
#include "base/bits.h"
#include "cli/image.h"

#include <sys/stat.h>
#include <time.h>

static const struct option_spec option_table[] = {IMAGE_OPTION_FORMAT, {0}};

static void print_size(const char *what, uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    unsigned unit = 0;
    double number = (double)bytes;
    while (number >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
        number /= 1024;
        unit++;
    }
    printf("%-16s%.*f %s", what, unit ? 1 : 0, number, units[unit]);
    if (unit)
        printf(" (%llu bytes)", (unsigned long long)bytes);
    printf("\n");
}

static void print_snapshots(struct image *image, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct qcow2_snapshot *snapshot = qcow2_snapshot_at(image, i);
        char date[32];
        time_t seconds = (time_t)snapshot->seconds;
        struct tm local;
        localtime_r(&seconds, &local);
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &local);
        printf("%-16s%s %s %s%s\n", i ? "" : "snapshots", snapshot->id, date, snapshot->name,
               snapshot->vm_state_size ? " (with memory)" : "");
    }
}

static void print_qcow2(struct image *image)
{
    struct qcow2_info info;
    qcow2_get_info(image, &info);
    printf("%-16s%u, clusters of %u bytes, refcounts of %u bits\n", "version", info.version,
           info.cluster_size, info.refcount_bits);
    printf("%-16s%s%s%s\n", "features", info.lazy_refcounts ? "lazy refcounts, " : "",
           info.extended_l2 ? "subclusters, " : "", info.uses_zstd ? "zstd" : "zlib");
    if (info.is_dirty || info.is_corrupt)
        printf("%-16s%s\n", "state", info.is_corrupt ? "corrupt" : "not closed");
    if (info.backing[0])
        printf("%-16s%s%s%s%s\n", "backing image", info.backing, info.backing_format[0] ? " (" : "",
               info.backing_format, info.backing_format[0] ? ")" : "");
    print_snapshots(image, info.snapshot_count);
}

static int run(int argc, char **argv)
{
    struct image_options options;
    struct error error = {0};
    struct stat status;
    struct image *image = NULL;
    int result = image_parse(&command_image_info, &options, argc, argv, 1, 1, &error);
    if (result == 0) {
        image = image_open_word(options.words[0], options.format, true, true, &error);
        result = image ? 0 : -error.code;
    }
    if (image) {
        printf("%-16s%s\n%-16s%s\n", "file", options.words[0], "format", image->ops->format);
        print_size("disk size", image->size);
        if (stat(options.words[0], &status) == 0)
            print_size("on the host", (uint64_t)status.st_blocks * 512);
        if (image_is_qcow2(image))
            print_qcow2(image);
    }
    return image_end(image, result, &error);
}

const struct command command_image_info = {
    .name = "image info",
    .summary = "say what an image is",
    .usage = "FILE [OPTION...]",
    .examples = "  nacre image info disk.qcow2\n",
    .options = option_table,
    .argument = image_add_word,
    .run = run,
};
