/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run_options.h"

#include <errno.h>
#include <string.h>
#include <sys/sysinfo.h>

static int set_kernel(void *target, const char *text, struct error *error)
{
    ((struct run_options *)target)->vm.boot.kernel = text;
    return 0;
}

static int set_initrd(void *target, const char *text, struct error *error)
{
    ((struct run_options *)target)->vm.boot.initrd = text;
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
        return error_set(error, EINVAL, "--memory %s: must be from 1M to 1024G in whole pages",
                         text);
    /* More than the whole host has, swap included, is a slip of the finger. */
    struct sysinfo host;
    if (sysinfo(&host) == 0) {
        uint64_t most = ((uint64_t)host.totalram + host.totalswap) * host.mem_unit;
        if (size > most)
            return error_set(error, ENOMEM, "--memory %s: this host has only %llu MiB with swap",
                             text, (unsigned long long)(most >> 20));
    }
    return 0;
}

static int set_cpu(void *target, const char *text, struct error *error)
{
    struct run_options *options = target;
    options->vm.model = cpu_model_find(text);
    if (options->vm.model)
        return 0;
    return error_set(error, EINVAL, "--cpu %s: no such model; known are %s and %s", text,
                     cpu_model_at(0)->name, cpu_model_at(1)->name);
}

static void list_engines(void)
{
    struct error error;
    printf("%-12s the first of these that this host can run (default)\n", "auto");
    for (unsigned i = 0; engines[i]; i++) {
        bool usable = engine_choose(engines[i]->name, &error);
        printf("%-12s %s%s%s\n", engines[i]->name, engines[i]->summary,
               usable ? "" : "; not here: ", usable ? "" : error.message);
    }
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

int run_options_settle(struct run_options *options, struct error *error)
{
    if (!options->vm.boot.kernel)
        return error_set(error, EINVAL, "--kernel: is missing; say what to boot");
    if (!options->serial_chosen && !console_is_stdio(&options->console))
        console_parse("serial", (char[]){"stdio"}, &options->serial, error);
    if (console_is_stdio(&options->serial) && console_is_stdio(&options->console))
        return error_set(error, EINVAL,
                         "--console stdio: --serial has the terminal already; give it another end");
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
    static const struct {
        const char *name;
        uint32_t bit;
    } kinds[] = {{"exits", TRACE_EXITS}, {"port", TRACE_PORT}, {"mmio", TRACE_MMIO}};
    struct run_options *options = target;
    char *rest = (char *)text;
    for (char *word; (word = strsep(&rest, ","));) {
        uint32_t bit = 0;
        for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
            if (!strcmp(kinds[i].name, word))
                bit = kinds[i].bit;
        if (!bit)
            return error_set(error, EINVAL, "--trace %s: must be some of exits, port, mmio", word);
        options->vm.trace |= bit;
    }
    return 0;
}

static int set_no_reboot(void *target, const char *text, struct error *error)
{
    ((struct run_options *)target)->vm.no_reboot = true;
    return 0;
}

static int set_no_hpet(void *target, const char *text, struct error *error)
{
    ((struct run_options *)target)->vm.no_hpet = true;
    return 0;
}

static int set_quiet(void *target, const char *text, struct error *error)
{
    ((struct run_options *)target)->quiet = true;
    return 0;
}

const struct option_spec run_option_table[] = {
    {"kernel", "FILE", "Linux bzImage or PVH ELF kernel to boot (required)", set_kernel},
    {"initrd", "FILE", "initial RAM disk", set_initrd},
    {"append", "TEXT", "the kernel's command line", set_append},
    {"cpus", "N", "number of vcpus, 1 to 16 (1)", set_cpus},
    {"memory", "SIZE", "guest memory, as 512M or 2G (512M)", set_memory},
    {"cpu", "MODEL", "CPU model: x86-64-v2 (default) or x86-64-v1", set_cpu},
    {"disk", "PATH[,SETTING...]",
     "disk image; readonly=on, format=, cache=writeback|none|writethrough|unsafe, "
     "aio=auto|threads|io_uring",
     set_disk},
    {"net", "user[,SETTING...]", "NAT network; hostfwd=tcp:127.0.0.1:2222-:22, restrict=on",
     set_net},
    {"serial", "WHERE", "first serial port (ttyS0): " CONSOLE_SYNTAX " (stdio)", set_serial},
    {"console", "WHERE",
     "virtio console (hvc0), the same places (none; with stdio, no serial port)", set_console},
    {"engine", "NAME", "what runs the guest's code: auto (default), a name, or help to list them",
     set_engine},
    {"engine-switch-every", "N", "let all engines take turns, N instructions each (for tests)",
     set_engine_switch_every},
    {"code-cache", "SIZE", "most memory that translated code may take (64M)", set_code_cache},
    {"perf-map", NULL, "name translated code for perf in /tmp/perf-PID.map", set_perf_map},
    {"stats", NULL, "print what the engines have counted at the end; SIGUSR1 prints it at any time",
     set_stats},
    {"trace", "KIND,...", "readable trace on stderr: exits, port, mmio", set_trace},
    {"no-hpet", NULL, "leave out the high precision event timer", set_no_hpet},
    {"no-reboot", NULL, "end when the guest reboots", set_no_reboot},
    {"quiet", NULL, "no line about the engine at start", set_quiet},
    {0},
};
