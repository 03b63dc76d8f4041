/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run_snapshot.h"

#include <errno.h>
#include <string.h>

#define MILLISECOND UINT64_C(1000000) /* in nanoseconds */

/* --- restoring --- */

static int take_machine(struct run_options *options, struct error *error)
{
    const struct snapshot_machine *machine = snapshot_machine(options->vm.restore);
    options->vm.memory_size = machine->memory_size;
    options->vm.cpu_count = machine->cpu_count;
    const struct cpu_model *model = cpu_model_find(machine->model);
    options->vm.model = &options->model;
    if (!model)
        return error_set(error, EINVAL,
                         "its CPU model %s is not known here; see nacre run --cpu help",
                         machine->model);
    int result = cpu_model_fit(model, &options->model, error);
    return result < 0 ? result : cpu_model_restrict(&options->model, &machine->features, error);
}

int run_restore_open(struct run_options *options, struct error *error)
{
    if (!options->restore)
        return 0;
    options->vm.restore = snapshot_open(options->restore, error);
    int result = options->vm.restore ? take_machine(options, error) : -EINVAL;
    if (result == 0 && options->restore_verify)
        result = snapshot_verify(options->vm.restore, error);
    return result == 0 ? 0 : error_prefix(error, "--restore %s", options->restore);
}

/* --- saving --- */

int run_save_open(struct run_save *save, const struct run_options *options, struct log *log,
                  struct error *error)
{
    *save = (struct run_save){.folder = options->save, .files = {-1, -1}, .log = log};
    if (!save->folder || snapshot_create_files(save->folder, &save->files, error) == 0)
        return 0;
    save->folder = NULL;
    return error_prefix(error, "--save %s", options->save);
}

static void saved(void *opaque, const struct snapshot_outcome *outcome)
{
    struct run_save *save = opaque;
    const char *folder = save->folder;
    run_save_close(save);
    if (outcome->result < 0)
        log_message(save->log, LOG_ERROR, "--save %s: %s", folder, strerror(-outcome->result));
    else
        log_message(save->log, LOG_INFO, "saved in %s: %llu ms after a pause of %llu.%llu ms",
                    folder, (unsigned long long)(outcome->total_ns / MILLISECOND),
                    (unsigned long long)(outcome->pause_ns / MILLISECOND),
                    (unsigned long long)(outcome->pause_ns / (MILLISECOND / 10) % 10));
}

void run_save(struct run_save *save, struct vm *vm)
{
    struct error error = {0};
    struct snapshot_request request = {.files = save->files, .lasting = true};
    for (unsigned i = 0; i < VM_DISKS_MAX; i++)
        request.overlays[i] = (struct block_overlay){.fd = -1, .below_fd = -1};
    if (!save->folder)
        log_message(save->log, LOG_ERROR, "SIGUSR2: nothing to save to (any more): give --save");
    else if (vm_save(vm, &request, saved, save, &error) < 0)
        log_message(save->log, LOG_ERROR, "%s", error.message);
}

void run_save_close(struct run_save *save)
{
    if (save->folder)
        snapshot_close_files(&save->files);
    save->folder = NULL;
}
