/* SPDX-License-Identifier: Apache-2.0 */
/* nacre console: a terminal on a running VM's serial port. The keys and the care for the terminal
 * are those of `nacre run --serial stdio`. */
#include "console/console.h"

#include "base/unix_socket.h"
#include "cli/signals.h"
#include "cli/vm_command.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct session {
    struct loop *loop;
    struct signals *signals;
    struct console *terminal;
    int line; /* to the serial port */
    struct loop_watch *watch;
    bool full; /* the line took not all that was typed */
};

static void leave(void *opaque)
{
    loop_stop(((struct session *)opaque)->loop);
}

static void signal_caught(void *opaque, int number)
{
    if (signals_is_ending(number))
        leave(opaque);
}

static unsigned typed(void *opaque, const uint8_t *bytes, unsigned count)
{
    struct session *session = opaque;
    ssize_t written = send(session->line, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (written == (ssize_t)count)
        return count;
    session->full = true;
    loop_watch_change(session->watch, EPOLLIN | EPOLLOUT);
    return written > 0 ? (unsigned)written : 0;
}

static void line_ready(void *opaque, uint32_t events)
{
    struct session *session = opaque;
    uint8_t bytes[4096];
    if (session->full && events & EPOLLOUT) {
        session->full = false;
        loop_watch_change(session->watch, EPOLLIN);
        console_drained(session->terminal);
    }
    if (!(events & (EPOLLIN | EPOLLHUP)))
        return;
    ssize_t count = read(session->line, bytes, sizeof(bytes));
    if (count > 0)
        console_write(session->terminal, bytes, (size_t)count);
    else if (count == 0 || (errno != EAGAIN && errno != EINTR))
        leave(session); /* the VM is off */
}

static int open_session(struct session *session, const struct state_directory *directory,
                        struct error *error)
{
    struct console_config config;
    const struct console_sink sink = {.receive = typed, .opaque = session};
    char path[STATE_PATH_MAX];
    state_directory_file(directory, STATE_SERIAL, path);
    session->line = state_directory_owner(directory) ? unix_socket_connect(path, error) : -ENOENT;
    if (session->line < 0)
        return error_set(error, ESRCH,
                         "VM %s: is not running; nacre log --console %s shows what it "
                         "said",
                         directory->name, directory->name);
    session->loop = loop_create(error);
    if (!session->loop)
        return -ENOMEM;
    session->signals = signals_watch(session->loop, signal_caught, session, error);
    session->watch =
        loop_watch_add(session->loop, session->line, EPOLLIN, line_ready, session, error);
    if (!session->signals || !session->watch)
        return -EIO;
    int result = console_parse("console", (char[]){"stdio"}, &config, error);
    if (result == 0)
        session->terminal = console_create(&config, session->loop, leave, session, error);
    if (!session->terminal)
        return -EIO;
    console_bind(session->terminal, &sink);
    return console_connect(session->terminal, error);
}

static void close_session(struct session *session)
{
    console_destroy(session->terminal);
    loop_watch_remove(session->watch);
    signals_unwatch(session->signals);
    if (session->line >= 0)
        close(session->line);
    loop_destroy(session->loop);
}

static int talk(struct vm_command *vm, struct error *error)
{
    struct session session = {.line = -1};
    int result = open_session(&session, &vm->directory, error);
    if (result == 0)
        loop_run(session.loop);
    close_session(&session);
    return result;
}

static int run(int argc, char **argv)
{
    struct vm_command vm = {0};
    return vm_command_run(&command_console, &vm, argc, argv, talk);
}

const struct command command_console = {
    .name = "console",
    .summary = "a terminal on a running VM's serial port, which begins with what was said lately",
    .usage = "NAME",
    .examples = "  nacre console web\n\nCtrl-A x leaves the terminal; the VM goes on.\n",
    .options = no_options,
    .run = run,
    .argument = vm_command_argument,
};
