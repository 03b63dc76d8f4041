/* SPDX-License-Identifier: Apache-2.0 */
/* nacre run: boots one machine in the foreground. */
#include "cli/cli.h"
#include "cli/terminal.h"
#include "vm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/sysinfo.h>
#include <unistd.h>

enum serial_kind { SERIAL_STDIO, SERIAL_NONE, SERIAL_FILE };

struct run_options {
    struct vm_config vm;
    enum serial_kind serial;
    const char *serial_path;
    const char *engine; /* NULL: auto */
    bool quiet;
};

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

static int set_engine(void *target, const char *text, struct error *error)
{
    struct run_options *options = target;
    if (!strcmp(text, "auto")) {
        options->engine = NULL;
        return 0;
    }
    for (unsigned i = 0; engines[i]; i++) {
        if (strcmp(engines[i]->name, text))
            continue;
        options->engine = engines[i]->name;
        options->vm.engine = engines[i];
        return 0;
    }
    return error_set(error, EINVAL,
                     "--engine %s: no such engine in this build; use auto or interpret", text);
}

static int set_serial(void *target, const char *text, struct error *error)
{
    struct run_options *options = target;
    if (!strcmp(text, "stdio")) {
        options->serial = SERIAL_STDIO;
    } else if (!strcmp(text, "none")) {
        options->serial = SERIAL_NONE;
    } else if (!strncmp(text, "file:", 5) && text[5]) {
        options->serial = SERIAL_FILE;
        options->serial_path = text + 5;
    } else {
        return error_set(error, EINVAL, "--serial %s: must be stdio, none or file:PATH", text);
    }
    return 0;
}

/* PATH[,readonly=on|off][,format=raw][,direct=on|off]. The text is cut up in place. */
static int set_disk(void *target, const char *text, struct error *error)
{
    struct run_options *options = target;
    if (options->vm.disk_count == VM_DISKS_MAX)
        return error_set(error, EINVAL, "--disk: at most %d disks", VM_DISKS_MAX);
    struct vm_disk *disk = &options->vm.disks[options->vm.disk_count++];
    char *rest = (char *)text;
    disk->path = strsep(&rest, ",");
    if (!*disk->path)
        return error_set(error, EINVAL, "--disk: needs the path of an image");
    for (char *word; (word = strsep(&rest, ","));) {
        if (!strcmp(word, "readonly=on"))
            disk->read_only = true;
        else if (!strcmp(word, "direct=on"))
            disk->direct = true;
        else if (!strncmp(word, "format=", 7))
            disk->format = word + 7;
        else if (strcmp(word, "readonly=off") && strcmp(word, "direct=off"))
            return error_set(error, EINVAL,
                             "--disk %s: unknown setting %s; known are readonly=, direct=, format=",
                             disk->path, word);
    }
    return 0;
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

static int set_quiet(void *target, const char *text, struct error *error)
{
    ((struct run_options *)target)->quiet = true;
    return 0;
}

static const struct option_spec run_option_table[] = {
    {"kernel", "FILE", "Linux bzImage or PVH ELF kernel to boot (required)", set_kernel},
    {"initrd", "FILE", "initial RAM disk", set_initrd},
    {"append", "TEXT", "the kernel's command line", set_append},
    {"cpus", "N", "number of vcpus, 1 to 16 (1)", set_cpus},
    {"memory", "SIZE", "guest memory, as 512M or 2G (512M)", set_memory},
    {"cpu", "MODEL", "CPU model: x86-64-v2 (default) or x86-64-v1", set_cpu},
    {"disk", "PATH[,SETTING...]", "raw disk image; readonly=on, direct=on", set_disk},
    {"net", "user[,SETTING...]", "NAT network; hostfwd=tcp:127.0.0.1:2222-:22, restrict=on",
     set_net},
    {"serial", "WHERE", "first serial port: stdio (default), none, file:PATH", set_serial},
    {"engine", "NAME", "what runs the guest's code: auto (default), interpret", set_engine},
    {"trace", "KIND,...", "readable trace on stderr: exits, port, mmio", set_trace},
    {"no-reboot", NULL, "end when the guest reboots", set_no_reboot},
    {"quiet", NULL, "no line about the engine at start", set_quiet},
    {0},
};

/* A running foreground machine. */
struct session {
    struct loop *loop;
    struct terminal *terminal;
    struct vm *vm;
    int signal_fd, signal_number;
    struct loop_watch *signal_watch;
};

static void session_ended(void *opaque)
{
    loop_stop(((struct session *)opaque)->loop);
}

static void session_quit(void *opaque)
{
    vm_stop(((struct session *)opaque)->vm);
}

static void signal_ready(void *opaque, uint32_t events)
{
    struct session *session = opaque;
    struct signalfd_siginfo information;
    if (read(session->signal_fd, &information, sizeof(information)) != sizeof(information))
        return;
    session->signal_number = (int)information.ssi_signo;
    vm_stop(session->vm);
}

/* SIGINT, SIGTERM and SIGHUP end the machine through the loop. Before any thread is made, so that
 * all inherit the mask. */
static int watch_signals(struct session *session, struct error *error)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    session->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (session->signal_fd >= 0)
        session->signal_watch = loop_watch_add(session->loop, session->signal_fd, EPOLLIN,
                                               signal_ready, session, error);
    if (!session->signal_watch)
        return error_set(error, errno, "cannot watch signals: %s", strerror(errno));
    return 0;
}

static int create_terminal(struct session *session, struct run_options *options,
                           struct error *error)
{
    if (options->serial == SERIAL_NONE)
        return 0;
    session->terminal = terminal_create(session->loop, options->serial == SERIAL_STDIO,
                                        session_quit, session, error);
    if (!session->terminal)
        return -EIO;
    options->vm.serial = (struct serial_config){
        .transmit = terminal_transmit, .drained = terminal_drained, .opaque = session->terminal};
    return 0;
}

/* Only when nothing else is wrong: this empties a file and changes the terminal's mode. */
static int attach_terminal(struct session *session, const struct run_options *options,
                           struct error *error)
{
    if (!session->terminal)
        return 0;
    int output = STDOUT_FILENO;
    if (options->serial == SERIAL_FILE)
        output = open(options->serial_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (output < 0)
        return error_set(error, errno, "--serial file:%s: %s", options->serial_path,
                         strerror(errno));
    return terminal_attach(session->terminal, vm_serial(session->vm), output, error);
}

static int exit_code_of(const struct session *session)
{
    const char *report = vm_report(session->vm);
    if (session->signal_number)
        return EXIT_CODE_SIGNAL + session->signal_number;
    if (*report)
        fprintf(stderr, "nacre: %s\n", report);
    switch (vm_end(session->vm)) {
    case VM_END_PANIC:
    case VM_END_TRIPLE_FAULT:
        return EXIT_CODE_GUEST;
    case VM_END_ERROR:
        return EXIT_CODE_HOST;
    default:
        return EXIT_CODE_OK;
    }
}

/* Memory, ports, sockets: what a later try may get is the host's trouble; all else is the
 * configuration's. */
static int failure_code(const struct error *error)
{
    fprintf(stderr, "nacre: %s\n", error->message);
    return EXIT_CODE_CONFIGURATION;
}

static int run_prepared(struct session *session, const struct run_options *options)
{
    struct error error = {0};
    int code = EXIT_CODE_HOST;
    if (!options->quiet)
        fprintf(stderr, "nacre: engine %s (%s)\r\n", options->vm.engine->name,
                options->engine ? "as asked" : "auto: the only one in this build");
    if (vm_start(session->vm, session_ended, session, &error) < 0) {
        fprintf(stderr, "nacre: %s\n", error.message);
    } else {
        loop_run(session->loop);
        terminal_restore(session->terminal);
        code = exit_code_of(session);
    }
    return code;
}

static int run_session(struct session *session, struct run_options *options, struct log *log)
{
    struct error error = {0};
    int code;
    if (watch_signals(session, &error) < 0 || create_terminal(session, options, &error) < 0)
        return failure_code(&error);
    session->vm = vm_create(&options->vm, session->loop, log, &error);
    if (!session->vm || attach_terminal(session, options, &error) < 0)
        code = failure_code(&error);
    else
        code = run_prepared(session, options);
    /* The vcpus first: one may be writing to the terminal. */
    vm_destroy(session->vm);
    terminal_destroy(session->terminal);
    loop_watch_remove(session->signal_watch);
    close(session->signal_fd);
    return code;
}

static int run(int argc, char **argv)
{
    struct run_options options = {
        .vm = {.boot = {.command_line = ""},
               .memory_size = MIB(512),
               .cpu_count = 1,
               .model = cpu_model_find(CPU_MODEL_DEFAULT),
               .engine = &engine_interpret},
    };
    struct error error = {0};
    struct log log;
    int result = options_parse(&command_run, &options, argc, argv, &error);
    if (result > 0)
        return EXIT_CODE_OK;
    if (result == 0 && !options.vm.boot.kernel)
        result = error_set(&error, EINVAL, "--kernel: is missing; say what to boot");
    if (result < 0)
        return failure_code(&error);
    options.vm.boot.cpu_count = options.vm.cpu_count;
    struct session session = {.loop = loop_create(&error)};
    if (!session.loop) {
        fprintf(stderr, "nacre: %s\n", error.message);
        return EXIT_CODE_HOST;
    }
    log_init(&log, stderr, LOG_WARNING);
    int code = run_session(&session, &options, &log);
    loop_destroy(session.loop);
    log_destroy(&log);
    return code;
}

const struct command command_run = {
    .name = "run",
    .summary = "boot a kernel in a virtual machine, in the foreground",
    .usage = "--kernel FILE [OPTION...]",
    .examples =
        "  nacre run --kernel vmlinuz --initrd initrd.img --append \"console=ttyS0\"\n"
        "  nacre run --kernel vmlinuz --disk root.img --append \"console=ttyS0 root=/dev/vda\" \\\n"
        "            --cpus 2 --memory 1G --net user,hostfwd=tcp:127.0.0.1:2222-:22\n"
        "\nOn a terminal Ctrl-A x quits and Ctrl-A h helps. Exit codes: 0 the guest powered off,\n"
        "2 wrong option or file, 3 guest panic or triple fault, 4 host error, 128+n signal n.\n",
    .options = run_option_table,
    .run = run,
};
