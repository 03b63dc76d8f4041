/* SPDX-License-Identifier: Apache-2.0 */
/* nacre run: boots one machine in the foreground. */
#include "cli/run_jail.h"
#include "cli/run_options.h"
#include "cli/run_snapshot.h"
#include "cli/signals.h"
#include "control/control.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* A running foreground machine. */
struct session {
    struct loop *loop;
    struct jail *jail; /* NULL: none */
    struct console *serial, *console, *debug_console;
    struct control *control; /* NULL: nobody supervises */
    struct display *display; /* NULL: none */
    struct vm *vm;
    struct log log;
    struct trace trace;
    struct signals *signals;
    struct run_save save;
    int signal_number;
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

static void restore_consoles(struct session *session)
{
    console_restore(session->serial);
    console_restore(session->console);
    console_restore(session->debug_console);
    display_restore(session->display);
}

/* Stops the process, with the terminal as the shell knows it, until SIGCONT. */
static void suspend(struct session *session)
{
    restore_consoles(session);
    raise(SIGSTOP);
    console_take_again(session->serial);
    console_take_again(session->console);
    console_take_again(session->debug_console);
    display_take_again(session->display);
}

static void size_changed(struct session *session)
{
    if (session->serial)
        console_size_changed(session->serial);
    if (session->console)
        console_size_changed(session->console);
    display_size_changed(session->display);
}

static void signal_caught(void *opaque, int number)
{
    struct session *session = opaque;
    switch (number) {
    case SIGUSR1:
        print_stats_now(session->vm);
        break;
    case SIGUSR2:
        run_save(&session->save, session->vm);
        break;
    case SIGWINCH:
        size_changed(session);
        break;
    case SIGTSTP:
        suspend(session);
        break;
    default:
        session->signal_number = number;
        restore_consoles(session);
        signals_let_kill();
        vm_stop(session->vm);
    }
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
    if (result == 0)
        result = create_console(session, &options->debug_console, &session->debug_console, error);
    options->vm.serial = session->serial;
    options->vm.console = session->console;
    options->vm.debug_console = session->debug_console;
    return result;
}

static int create_display(struct session *session, struct run_options *options, struct error *error)
{
    const struct display_host host = {.loop = session->loop,
                                      .log = &session->log,
                                      .guard = options->vm.guard,
                                      .quit = session_quit,
                                      .opaque = session};
    if (!options->display.ops)
        return 0;
    session->display = display_create(&options->display, &host, error);
    options->vm.display = session->display;
    return session->display ? 0 : -EIO;
}

/* Only when nothing else is wrong: this empties a file and changes the terminal's mode. */
static int connect_consoles(struct session *session, struct error *error)
{
    struct console *consoles[] = {session->serial, session->console, session->debug_console};
    int result = 0;
    for (unsigned i = 0; result == 0 && i < ARRAY_SIZE(consoles); i++)
        result = consoles[i] ? console_connect(consoles[i], error) : 0;
    return result == 0 && session->display ? display_start(session->display, error) : result;
}

static int exit_code_of(struct session *session)
{
    const char *report = vm_report(session->vm);
    if (session->signal_number)
        return EXIT_CODE_SIGNAL + session->signal_number;
    if (*report)
        log_message(&session->log, LOG_ERROR, "%s", report);
    switch (vm_end(session->vm)) {
    case VM_END_PANIC:
    case VM_END_TRIPLE_FAULT:
        return EXIT_CODE_GUEST;
    case VM_END_TEST:
        return vm_test_code(session->vm);
    case VM_END_ERROR:
        return EXIT_CODE_HOST;
    default:
        return EXIT_CODE_OK;
    }
}

static int failed(struct session *session, const struct error *error, int code)
{
    log_message(&session->log, LOG_ERROR, "%s", error->message);
    return code;
}

/* Why auto took what it took. */
static const char *engine_reason(void)
{
    return engines[1] ? "auto: the first that this host can run"
                      : "auto: the only one in this build";
}

static int run_machine(struct session *session, const struct run_options *options)
{
    struct error error = {0};
    log_message(&session->log, LOG_INFO, "engine %s (%s)", options->vm.engine->name,
                options->engine ? "as asked" : engine_reason());
    if (session->jail)
        jail_close_strangers();
    if (vm_start(session->vm, session_ended, session, &error) < 0)
        return failed(session, &error, EXIT_CODE_HOST);
    control_event(session->control, "booted", NULL);
    thread_enter(jail_guard(session->jail), THREAD_LOOP);
    loop_run(session->loop);
    restore_consoles(session);
    if (options->stats)
        vm_print_stats(session->vm, stderr);
    return exit_code_of(session);
}

/* Everything that a later failure need not undo: messages, trace, signals. */
static int prepare(struct session *session, struct run_options *options, struct error *error)
{
    session->log.level = options->log_level;
    session->log.name = options->name;
    if (options->name) {
        char title[16]; /* what a process may be called */
        snprintf(title, sizeof(title), "nacre:%s", options->name);
        prctl(PR_SET_NAME, title);
    }
    int result = options->log_file ? log_open_file(&session->log, options->log_file, error) : 0;
    if (result == 0 && options->trace_kinds) {
        result = trace_open(&session->trace, options->trace_kinds, options->trace_file, error);
        options->vm.trace = &session->trace;
    }
    if (result == 0)
        result = run_jail_create(options, &session->log, &session->jail, error);
    if (result < 0)
        return result;
    options->vm.guard = jail_guard(session->jail);
    result = run_save_open(&session->save, options, &session->log, error);
    if (result < 0)
        return result;
    session->loop = loop_create(error);
    if (!session->loop)
        return -ENOMEM;
    if (options->control) {
        session->control =
            control_create(options->control, session->loop, session_quit, session, error);
        if (!session->control)
            return -ENOMEM;
    }
    session->signals = signals_watch(session->loop, signal_caught, session, error);
    if (!session->signals)
        return -EIO;
    result = create_consoles(session, options, error);
    return result == 0 ? create_display(session, options, error) : result;
}

static int run_session(struct session *session, struct run_options *options)
{
    struct error error = {0};
    if (prepare(session, options, &error) < 0)
        return failed(session, &error, EXIT_CODE_CONFIGURATION);
    session->vm = vm_create(&options->vm, session->loop, &session->log, &error);
    if (!session->vm || connect_consoles(session, &error) < 0)
        return failed(session, &error, EXIT_CODE_CONFIGURATION);
    if (session->control && control_connect(session->control, session->vm, &error) < 0)
        return failed(session, &error, EXIT_CODE_HOST);
    return run_machine(session, options);
}

static void session_close(struct session *session)
{
    /* The vcpus first: one may be writing to a console. */
    vm_destroy(session->vm);
    run_save_close(&session->save);
    console_destroy(session->serial);
    console_destroy(session->console);
    console_destroy(session->debug_console);
    control_destroy(session->control);
    display_destroy(session->display);
    signals_unwatch(session->signals);
    loop_destroy(session->loop);
    trace_close(&session->trace);
    log_destroy(&session->log);
    jail_destroy(session->jail);
}

static int run(int argc, char **argv)
{
    struct run_options options = run_options_default();
    struct error error = {0};
    struct session session = {0};
    log_init(&session.log, stderr, LOG_INFO);
    int result = options_parse(&command_run, &options, argc, argv, &error);
    int code = EXIT_CODE_OK;
    if (result == 0)
        result = run_options_settle(&options, &error);
    if (result < 0)
        code = failed(&session, &error, EXIT_CODE_CONFIGURATION);
    else if (result == 0)
        code = run_session(&session, &options);
    session_close(&session);
    snapshot_close(options.vm.restore);
    return code;
}

const struct command command_run = {
    .name = "run",
    .summary = "boot a kernel in a virtual machine, in the foreground",
    .usage = "--kernel FILE|--firmware bios|uefi [OPTION...]",
    .examples =
        "  nacre run --kernel vmlinuz --initrd initrd.img --append \"console=ttyS0\"\n"
        "  nacre run --kernel vmlinuz --initrd initrd.img --append \"console=hvc0\" \\\n"
        "            --console stdio\n"
        "  nacre run --kernel vmlinuz --name web --serial unix:/run/web.sock,server \\\n"
        "            --log-file /var/log/web.log\n"
        "  nacre run --kernel vmlinuz --trace irq,msr --trace-file trace.txt --stats\n"
        "  nacre run --kernel vmlinuz --disk root.img --append \"console=ttyS0 root=/dev/vda\" \\\n"
        "            --cpus 2 --memory 1G --net user,hostfwd=tcp:127.0.0.1:2222-:22\n"
        "  nacre run --firmware uefi,vars=debian.fd --disk debian.qcow2 --memory 1G\n"
        "  nacre run --kernel kernel.elf --module \"disk.img readonly\" --test-device\n"
        "  nacre run --kernel vmlinuz --initrd initrd.img --append \"console=ttyS0\" --save state\n"
        "  nacre run --restore state\n"
        "\nOn a terminal Ctrl-A x quits and Ctrl-A h helps; SIGUSR1 prints statistics, SIGUSR2\n"
        "saves the machine (--save). Exit codes: 0 the guest powered off,\n"
        "2 wrong option or file, 3 guest panic or triple fault, 4 host error, 5 stopped by\n"
        "the jail, 128+n signal n.\n",
    .options = run_option_table,
    .run = run,
};
