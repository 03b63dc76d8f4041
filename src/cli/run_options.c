/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run_options.h"

#include "base/rate_limit.h"
#include "cli/lists.h"
#include "cli/run_snapshot.h"
#include "manage/config.h"
#include "memory/host.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct run_options run_options_default(void)
{
    return (struct run_options){
        .vm = {.boot = {.command_line = ""},
               .memory_size = CONFIG_MEMORY_DEFAULT,
               .cpu_count = 1,
               .model = cpu_model_find(CPU_MODEL_DEFAULT),
               .engine_options = engine_options_default},
        .log_level = LOG_INFO,
    };
}

static int set_kernel(void *target, const char *text, struct error *error)
{
    ((struct run_options *)target)->vm.boot.kernel = text;
    return 0;
}

static int set_firmware(void *target, const char *text, struct error *error)
{
    return firmware_parse((char *)text, &((struct run_options *)target)->vm.firmware, error);
}

static int set_boot(void *target, const char *text, struct error *error)
{
    return boot_order_parse((char *)text, &((struct run_options *)target)->vm.boot_order, error);
}

static int set_initrd(void *target, const char *text, struct error *error)
{
    ((struct run_options *)target)->vm.boot.initrd = text;
    return 0;
}

static int set_module(void *target, const char *text, struct error *error)
{
    struct boot_options *boot = &((struct run_options *)target)->vm.boot;
    if (boot->module_count == BOOT_MODULES_MAX)
        return error_set(error, EINVAL, "--module: at most %d modules", BOOT_MODULES_MAX);
    boot->modules[boot->module_count++] = text;
    return 0;
}

static int set_append(void *target, const char *text, struct error *error)
{
    ((struct run_options *)target)->vm.boot.command_line = text;
    return 0;
}

static int set_cpus(void *target, const char *text, struct error *error)
{
    struct run_options *options = target;
    return number_parse("cpus", text, 1, VCPU_COUNT_MAX, &options->vm.cpu_count, error);
}

static int set_memory(void *target, const char *text, struct error *error)
{
    struct run_options *options = target;
    int result = size_parse("memory", text, &options->vm.memory_size, error);
    if (result < 0)
        return result;
    uint64_t size = options->vm.memory_size;
    if (size < MEMORY_SIZE_MIN || size > MEMORY_SIZE_MAX || size % PAGE_SIZE)
        return error_set(error, EINVAL, "--memory %s: must be from 1M to 1000G in whole pages",
                         text);
    /* More than this process could ever have, swap included, is a slip of the finger. */
    uint64_t most = host_memory_most();
    if (size > most)
        return error_set(error, ENOMEM, "--memory %s: this host gives at most %llu MiB with swap",
                         text, (unsigned long long)(most >> 20));
    return 0;
}

static int set_cpu(void *target, const char *text, struct error *error)
{
    struct run_options *options = target;
    if (!strcmp(text, "help")) {
        list_models();
        return 1;
    }
    const struct cpu_model *model = cpu_model_find(text);
    if (!model)
        return error_set(error, EINVAL, "--cpu %s: no such model; see --cpu help", text);
    options->vm.model = &options->model;
    return cpu_model_fit(model, &options->model, error);
}

static int set_engine(void *target, const char *text, struct error *error)
{
    struct run_options *options = target;
    if (!strcmp(text, "help")) {
        list_engines();
        return 1;
    }
    options->engine = strcmp(text, "auto") ? text : NULL;
    if (options->engine && !engine_choose(text, error))
        return error_prefix(error, "--engine %s (see --engine help)", text);
    return 0;
}

static int set_code_cache(void *target, const char *text, struct error *error)
{
    struct run_options *options = target;
    uint64_t *size = &options->vm.engine_options.code_cache_bytes;
    int result = size_parse("code-cache", text, size, error);
    if (result == 0 && (*size < CODE_CACHE_MIN || *size > CODE_CACHE_MAX || *size % PAGE_SIZE))
        return error_set(error, EINVAL, "--code-cache %s: must be from 1M to 1G in whole pages",
                         text);
    return result;
}

static int set_engine_switch_every(void *target, const char *text, struct error *error)
{
    struct run_options *options = target;
    unsigned every = 0;
    int result = number_parse("engine-switch-every", text, 1, UINT32_MAX, &every, error);
    options->vm.engine_options.switch_every = every;
    return result;
}

static int set_perf_map(void *target, const char *text, struct error *error)
{
    ((struct run_options *)target)->vm.engine_options.perf_map = true;
    return 0;
}

static int set_stats(void *target, const char *text, struct error *error)
{
    ((struct run_options *)target)->stats = true;
    return 0;
}

static int set_serial(void *target, const char *text, struct error *error)
{
    struct run_options *options = target;
    options->serial_chosen = true;
    return console_parse("serial", (char *)text, &options->serial, error);
}

static int set_console(void *target, const char *text, struct error *error)
{
    struct run_options *options = target;
    return console_parse("console", (char *)text, &options->console, error);
}

static int set_debug_console(void *target, const char *text, struct error *error)
{
    struct run_options *options = target;
    return console_parse("debug-console", (char *)text, &options->debug_console, error);
}

static int set_display(void *target, const char *text, struct error *error)
{
    return display_parse((char *)text, &((struct run_options *)target)->display, error);
}

/* The terminal goes to the serial port unless another wants it; only one can have it. */
static int settle_consoles(struct run_options *options, struct error *error)
{
    const struct console_config *consoles[] = {&options->serial, &options->console,
                                               &options->debug_console};
    const char *owner = NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(consoles); i++) {
        if (!console_is_stdio(consoles[i]))
            continue;
        if (owner)
            return error_set(error, EINVAL,
                             "--%s stdio: --%s has the terminal already; give it another end",
                             consoles[i]->option, owner);
        owner = consoles[i]->option;
    }
    if (owner && display_is_terminal(&options->display))
        return error_set(error, EINVAL,
                         "--display text: --%s has the terminal already; give it another end",
                         owner);
    if (!options->serial_chosen && !owner && !display_is_terminal(&options->display))
        console_parse("serial", (char[]){"stdio"}, &options->serial, error);
    return 0;
}

int run_options_settle(struct run_options *options, struct error *error)
{
    const bool firmware = options->vm.firmware.image, kernel = options->vm.boot.kernel;
    int result = run_restore_open(options, error);
    if (result < 0)
        return result;
    if (!firmware && !kernel && !options->restore)
        return error_set(
            error, EINVAL,
            "--kernel: is missing; say what to boot, or boot from disk with --firmware");
    if (firmware && kernel)
        return error_set(error, EINVAL,
                         "--kernel %s: is booted without firmware; leave out --firmware",
                         options->vm.boot.kernel);
    if (!firmware && options->vm.boot_order.count)
        return error_set(error, EINVAL, "--boot: is for firmware; add --firmware bios or uefi");
    /* Firmware wants a screen and a keyboard, though nobody may look. */
    if (firmware && !options->display.ops)
        display_parse((char[]){"none"}, &options->display, error);
    result = settle_consoles(options, error);
    if (result < 0)
        return result;
    options->vm.engine = engine_choose(options->engine, error);
    if (!options->vm.engine)
        return -EINVAL;
    options->vm.boot.cpu_count = options->vm.cpu_count;
    return 0;
}

static int set_disk(void *target, const char *text, struct error *error)
{
    struct run_options *options = target;
    if (options->vm.disk_count == VM_DISKS_MAX)
        return error_set(error, EINVAL, "--disk: at most %d disks", VM_DISKS_MAX);
    struct block_options *disk = &options->vm.disks[options->vm.disk_count++];
    return block_options_parse(disk, (char *)text, error);
}

static int set_cdrom(void *target, const char *text, struct error *error)
{
    ((struct run_options *)target)->vm.cdrom = (struct block_options){
        .option = "--cdrom", .path = text, .format = "raw", .read_only = true};
    return 0;
}

static int set_floppy(void *target, const char *text, struct error *error)
{
    struct block_options *floppy = &((struct run_options *)target)->vm.floppy;
    *floppy = (struct block_options){.option = "--floppy", .format = "raw"};
    return block_options_parse(floppy, (char *)text, error);
}

static int set_net(void *target, const char *text, struct error *error)
{
    struct run_options *options = target;
    if (options->vm.net_count == VM_NETS_MAX)
        return error_set(error, EINVAL, "--net: at most %d networks", VM_NETS_MAX);
    options->vm.nets[options->vm.net_count++] = text;
    return 0;
}

static int set_trace(void *target, const char *text, struct error *error)
{
    struct run_options *options = target;
    char *rest = (char *)text;
    if (!strcmp(text, "help")) {
        list_traces();
        return 1;
    }
    for (char *word; (word = strsep(&rest, ","));) {
        const struct trace_name *entry = trace_names;
        while (entry->name && strcmp(entry->name, word))
            entry++;
        if (!entry->name)
            return error_set(error, EINVAL, "--trace %s: no such kind; see --trace help", word);
        options->trace_kinds |= entry->kind;
    }
    return 0;
}

static int set_trace_file(void *target, const char *text, struct error *error)
{
    ((struct run_options *)target)->trace_file = text;
    return 0;
}

static int set_log_level(void *target, const char *text, struct error *error)
{
    struct run_options *options = target;
    for (unsigned i = 0; log_level_name(i); i++) {
        if (strcmp(log_level_name(i), text))
            continue;
        options->log_level = (enum log_level)i;
        return 0;
    }
    return error_set(error, EINVAL, "--log-level %s: must be error, warning, info or debug", text);
}

static int set_log_file(void *target, const char *text, struct error *error)
{
    ((struct run_options *)target)->log_file = text;
    return 0;
}

static int set_name(void *target, const char *text, struct error *error)
{
    ((struct run_options *)target)->name = text;
    return vm_name_check("--name", text, error);
}

/* Whoever closes strange descriptors is to spare this one. */
static int set_control(void *target, const char *text, struct error *error)
{
    unsigned number;
    int result = number_parse("control", text, STDERR_FILENO + 1, INT16_MAX, &number, error);
    if (result == 0 && fcntl((int)number, F_SETFD, FD_CLOEXEC) < 0)
        result = error_set(error, EINVAL, "--control %s: %s", text, strerror(errno));
    if (result == 0) {
        ((struct run_options *)target)->control = (int)number;
        ((struct run_options *)target)->vm.can_attach = true;
    }
    ((struct run_options *)target)->vm.can_save = true;
    return result;
}

static int set_restore(void *target, const char *text, struct error *error)
{
    ((struct run_options *)target)->restore = text;
    return 0;
}

static int set_restore_verify(void *target, const char *text, struct error *error)
{
    ((struct run_options *)target)->restore_verify = true;
    return 0;
}

static int set_restore_clone(void *target, const char *text, struct error *error)
{
    ((struct run_options *)target)->vm.clone = true;
    return 0;
}

static int set_save(void *target, const char *text, struct error *error)
{
    struct run_options *options = target;
    options->save = text;
    options->vm.can_save = true;
    return 0;
}

static int set_jail(void *target, const char *text, struct error *error)
{
    return jail_mode_parse(text, &((struct run_options *)target)->jail, error);
}

static int set_no_reboot(void *target, const char *text, struct error *error)
{
    ((struct run_options *)target)->vm.no_reboot = true;
    return 0;
}

static int set_test_device(void *target, const char *text, struct error *error)
{
    ((struct run_options *)target)->vm.test_device = true;
    return 0;
}

static int set_no_hpet(void *target, const char *text, struct error *error)
{
    ((struct run_options *)target)->vm.no_hpet = true;
    return 0;
}

static int set_quiet(void *target, const char *text, struct error *error)
{
    ((struct run_options *)target)->log_level = LOG_WARNING;
    return 0;
}

const struct option_spec run_option_table[] = {
    {"kernel", "FILE", "Linux bzImage, PVH or multiboot kernel to boot, without firmware",
     set_kernel, NULL},
    {"initrd", "FILE", "initial RAM disk", set_initrd, NULL},
    {"module", "FILE [TEXT]", "module of a multiboot kernel, with its words", set_module, NULL},
    {"firmware", FIRMWARE_SYNTAX, "boot as a PC does: SeaBIOS, OVMF or another ROM image",
     set_firmware, firmware_word},
    {"boot", "DEVICE,...",
     "what the firmware boots from, in this order: disk, cdrom, floppy, net (all)", set_boot,
     boot_device_word},
    {"append", "TEXT", "the kernel's command line", set_append, NULL},
    {"cpus", "N", "number of vcpus, 1 to 16 (1)", set_cpus, NULL},
    {"memory", "SIZE", "guest memory, as 512M or 2G (512M)", set_memory, NULL},
    {"cpu", "MODEL", "CPU model (" CPU_MODEL_DEFAULT "), or help to list them", set_cpu,
     model_word},
    {"disk", "PATH[,SETTING...]",
     "disk image; bus=virtio|ide, readonly=on, format=, cache=writeback|none|writethrough|unsafe, "
     "aio=auto|threads|io_uring, " RATE_LIMIT_SYNTAX,
     set_disk, NULL},
    {"cdrom", "FILE", "ISO 9660 image for an IDE CD-ROM drive", set_cdrom, NULL},
    {"floppy", "PATH[,readonly=on]", "image of a 1.44M floppy for a drive A", set_floppy, NULL},
    {"net", "KIND[,SETTING...]",
     "network card: user (NAT; hostfwd=tcp:127.0.0.1:2222-:22, restrict=on, network=, dns=, "
     "domain=, hostname=, tftp=FOLDER, bootfile=), tap[=NAME] (bridge=), switch=NAME; with all "
     "kinds model=virtio|e1000, "
     "mac=, "
     "queues=1 to 8, "
     "pcap=FILE, " RATE_LIMIT_SYNTAX,
     set_net, NULL},
    {"serial", "WHERE", "first serial port (ttyS0): " CONSOLE_SYNTAX " (stdio)", set_serial,
     console_word},
    {"console", "WHERE",
     "virtio console (hvc0), the same places (none; with stdio, no serial port)", set_console,
     NULL},
    {"debug-console", "WHERE", "the firmware's own messages (port 0x402), the same places (none)",
     set_debug_console, NULL},
    {"display", "WHERE",
     "screen, keyboard and mouse: " DISPLAY_SYNTAX " (no screen at all; with text, no serial port)",
     set_display, display_word},
    {"engine", "NAME", "what runs the guest's code: auto (default), a name, or help to list them",
     set_engine, engine_word},
    {"engine-switch-every", "N", "let all engines take turns, N instructions each (for tests)",
     set_engine_switch_every, NULL},
    {"code-cache", "SIZE", "most memory that translated code may take (128M)", set_code_cache,
     NULL},
    {"perf-map", NULL, "name translated code for perf in /tmp/perf-PID.map", set_perf_map, NULL},
    {"stats", NULL, "print what the engines have counted at the end; SIGUSR1 prints it at any time",
     set_stats, NULL},
    {"trace", "KIND,...", "readable trace of what the guest does; help lists the kinds", set_trace,
     trace_word},
    {"trace-file", "FILE", "where the trace goes (stderr)", set_trace_file, NULL},
    {"log-level", "LEVEL", "least important messages shown: error, warning, info (default), debug",
     set_log_level, log_level_name},
    {"log-file", "FILE", "where messages are appended (stderr)", set_log_file, NULL},
    {"restore", "FOLDER",
     "go on from a snapshot; memory, vcpus and their model are as they were, other options are to "
     "be the same",
     set_restore, NULL},
    {"restore-verify", NULL, "read all of the snapshot first, to see whether it is damaged",
     set_restore_verify, NULL},
    {"restore-clone", NULL,
     "the restored machine is another one: it keeps the addresses of its --net, and the guest is "
     "told",
     set_restore_clone, NULL},
    {"save", "FOLDER", "where SIGUSR2 saves the running machine, once, for --restore", set_save,
     NULL},
    {"name", "NAME", "name of the machine, in messages and process lists", set_name, NULL},
    {"jail", "MODE", "on (default): a system call that nacre has no use for ends it; log; off",
     set_jail, jail_mode_name},
    {"control", "FD", "the socket of a supervising process, as nacre start gives it", set_control,
     NULL},
    {"test-device", NULL,
     "what kernels' test suites use; N at port 0xf4 ends with exit code 2N + 1", set_test_device,
     NULL},
    {"no-hpet", NULL, "leave out the high precision event timer", set_no_hpet, NULL},
    {"no-reboot", NULL, "end when the guest reboots", set_no_reboot, NULL},
    {"quiet", NULL, "as --log-level warning: no line about the engine at start", set_quiet, NULL},
    {0},
};
