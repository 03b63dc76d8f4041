/* SPDX-License-Identifier: Apache-2.0 */
/* nacre run: boots one machine in the foreground. */
#include "cli/run_options.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* A running foreground machine. */
struct session {
    struct loop *loop;
    struct console *serial, *console;
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

/* The terminal may be raw: each line's end returns the carriage as well. */
static void print_stats_now(struct vm *vm)
{
    char *text = NULL;
    size_t size;
    FILE *lines = open_memstream(&text, &size);
    if (!lines)
        return;
    vm_print_stats(vm, lines);
    if (fclose(lines) == 0)
        for (char *rest = text, *line; (line = strsep(&rest, "\n")) && rest;)
            fprintf(stderr, "%s\r\n", line);
    free(text);
}

static void signal_ready(void *opaque, uint32_t events)
{
    struct session *session = opaque;
    struct signalfd_siginfo information;
    if (read(session->signal_fd, &information, sizeof(information)) != sizeof(information))
        return;
    if (information.ssi_signo == SIGUSR1) {
        print_stats_now(session->vm);
        return;
    }
    session->signal_number = (int)information.ssi_signo;
    vm_stop(session->vm);
}

/* SIGINT, SIGTERM and SIGHUP end the machine through the loop; SIGUSR1 shows statistics. Before any
 * thread is made, so that all inherit the mask. */
static int watch_signals(struct session *session, struct error *error)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
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

/* NULL in *console when nobody is to be at the other end. */
static int create_console(struct session *session, const struct console_config *config,
                          struct console **console, struct error *error)
{
    if (!config->ops)
        return 0;
    *console = console_create(config, session->loop, session_quit, session, error);
    return *console ? 0 : -EIO;
}

static int create_consoles(struct session *session, struct run_options *options,
                           struct error *error)
{
    int result = create_console(session, &options->serial, &session->serial, error);
    if (result == 0)
        result = create_console(session, &options->console, &session->console, error);
    options->vm.serial = session->serial;
    options->vm.console = session->console;
    return result;
}

/* Only when nothing else is wrong: this empties a file and changes the terminal's mode. */
static int connect_consoles(struct session *session, struct error *error)
{
    int result = session->serial ? console_connect(session->serial, error) : 0;
    return result == 0 && session->console ? console_connect(session->console, error) : result;
}

static void restore_consoles(struct session *session)
{
    console_restore(session->serial);
    console_restore(session->console);
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

/* Why auto took what it took. */
static const char *engine_reason(void)
{
    return engines[1] ? "auto: the first that this host can run"
                      : "auto: the only one in this build";
}

static int run_prepared(struct session *session, const struct run_options *options)
{
    struct error error = {0};
    int code = EXIT_CODE_HOST;
    if (!options->quiet)
        fprintf(stderr, "nacre: engine %s (%s)\r\n", options->vm.engine->name,
                options->engine ? "as asked" : engine_reason());
    if (vm_start(session->vm, session_ended, session, &error) < 0) {
        fprintf(stderr, "nacre: %s\n", error.message);
    } else {
        loop_run(session->loop);
        restore_consoles(session);
        if (options->stats)
            vm_print_stats(session->vm, stderr);
        code = exit_code_of(session);
    }
    return code;
}

static int run_session(struct session *session, struct run_options *options, struct log *log)
{
    struct error error = {0};
    int code;
    if (watch_signals(session, &error) < 0 || create_consoles(session, options, &error) < 0)
        return failure_code(&error);
    session->vm = vm_create(&options->vm, session->loop, log, &error);
    if (!session->vm || connect_consoles(session, &error) < 0)
        code = failure_code(&error);
    else
        code = run_prepared(session, options);
    /* The vcpus first: one may be writing to a console. */
    vm_destroy(session->vm);
    console_destroy(session->serial);
    console_destroy(session->console);
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
               .engine_options = engine_options_default},
    };
    struct error error = {0};
    struct log log;
    int result = options_parse(&command_run, &options, argc, argv, &error);
    if (result > 0)
        return EXIT_CODE_OK;
    if (result == 0)
        result = run_options_settle(&options, &error);
    if (result < 0)
        return failure_code(&error);
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
