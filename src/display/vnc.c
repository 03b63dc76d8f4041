/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vnc: the screen for VNC clients. The machine's end: it opens the socket, starts the process that
 * serves it (vnc_server.c), and takes keys and pointer from there.
 */
#include "base/helper.h"
#include "display/keys.h"
#include "display/view.h"
#include "display/vnc_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH_MAX 64 /* events until the loop's other work gets its turn */
#define CODE_MAX  0x100

/* RFC 6143 §7.5.5 */
#define BUTTON_LEFT       BIT(0)
#define BUTTON_MIDDLE     BIT(1)
#define BUTTON_RIGHT      BIT(2)
#define BUTTON_WHEEL_UP   BIT(3)
#define BUTTON_WHEEL_DOWN BIT(4)

struct vnc_view {
    struct display display;
    int fd; /* of the process; -1: none */
    struct loop_watch *watch;
    bool held[2][CODE_MAX]; /* keys that are down: without and with the prefix E0 */
    bool pointed;           /* x and y are known */
    uint32_t x, y, buttons;
};

/* --- the socket --- */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static bool is_loopback(const union address *address)
{
    if (address->any.sa_family == AF_INET)
        return ntohl(address->v4.sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
}

/* "127.0.0.1:5901", "[::1]:5901", "localhost:5901". No names are looked up. */
static int parse_address(const char *text, union address *address, struct error *error)
{
    char host[INET6_ADDRSTRLEN + 2];
    char *end;
    const char *colon = strrchr(text, ':');
    unsigned long port = colon && colon[1] ? strtoul(colon + 1, &end, 10) : UINT16_MAX + 1ul;
    bool fits = colon && (size_t)(colon - text) < sizeof(host);
    *address = (union address){0};
    snprintf(host, sizeof(host), "%.*s", fits ? (int)(colon - text) : 0, text);
    size_t length = strlen(host);
    if (!strcmp(host, "localhost"))
        snprintf(host, sizeof(host), "127.0.0.1");
    if (fits && port <= UINT16_MAX && !*end && inet_pton(AF_INET, host, &address->v4.sin_addr)) {
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = htons((uint16_t)port);
        return 0;
    }
    if (length > 2 && host[0] == '[' && host[length - 1] == ']') {
        host[length - 1] = 0;
        if (port <= UINT16_MAX && !*end && inet_pton(AF_INET6, host + 1, &address->v6.sin6_addr)) {
            address->v6.sin6_family = AF_INET6;
            address->v6.sin6_port = htons((uint16_t)port);
            return 0;
        }
    }
    return error_set(error, EINVAL,
                     "--display vnc=%.80s: must be ADDRESS:PORT, as 127.0.0.1:5901 or [::1]:5901",
                     text);
}

static int listen_at(const char *text, const union address *address, struct error *error)
{
    socklen_t size = address->any.sa_family == AF_INET ? sizeof(address->v4) : sizeof(address->v6);
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (bind(fd, &address->any, size) == 0 && listen(fd, 8) == 0)
            return fd;
    }
    int code = errno;
    if (fd >= 0)
        close(fd);
    return error_set(error, code, "--display vnc=%s: cannot listen: %s", text, strerror(code));
}

/* Port 0 asks for any: which one it is only we know. */
static void say_where(const struct display *display, int fd)
{
    union address address;
    socklen_t size = sizeof(address);
    char host[INET6_ADDRSTRLEN] = "";
    if (getsockname(fd, &address.any, &size) < 0)
        return;
    bool v4 = address.any.sa_family == AF_INET;
    inet_ntop(address.any.sa_family,
              v4 ? (void *)&address.v4.sin_addr : (void *)&address.v6.sin6_addr, host,
              sizeof(host));
    log_message(display->host.log, LOG_INFO, "VNC on %s port %u", host,
                ntohs(v4 ? address.v4.sin_port : address.v6.sin6_port));
}

/* The file's first line. */
static int read_password(const char *path, char *password, struct error *error)
{
    char line[256] = "";
    FILE *file = fopen(path, "re");
    if (!file)
        return error_set(error, errno, "--display vnc: cannot read the password from %s: %s", path,
                         strerror(errno));
    bool got = fgets(line, sizeof(line), file);
    fclose(file);
    line[strcspn(line, "\r\n")] = 0;
    size_t length = strlen(line);
    if (!got || !length || length > VNC_PASSWORD_MAX)
        return error_set(error, EINVAL,
                         "--display vnc: the password in %s must have 1 to %d characters: VNC "
                         "looks at no more",
                         path, VNC_PASSWORD_MAX);
    memcpy(password, line, length + 1);
    return 0;
}

/* --- what clients do --- */

static void move_key(struct vnc_view *view, uint16_t code, bool down)
{
    bool *held = &view->held[code >> 8 != 0][code & (CODE_MAX - 1)];
    if (!down && !*held)
        return;
    *held = down;
    typist_move(view->display.typist, code, down, NULL);
}

/* Clients that send capitals without Shift get it pressed for them. */
static void key(struct vnc_view *view, uint32_t keysym, bool down)
{
    bool shift;
    const struct key *found = key_by_keysym(keysym, &shift);
    if (!found)
        return;
    bool add_shift =
        shift && !view->held[0][KEY_CODE_SHIFT] && !view->held[0][KEY_CODE_SHIFT_RIGHT];
    if (add_shift && down)
        typist_move(view->display.typist, KEY_CODE_SHIFT, true, NULL);
    move_key(view, found->code, down);
    if (add_shift && down)
        typist_move(view->display.typist, KEY_CODE_SHIFT, false, NULL);
}

static void release_keys(struct vnc_view *view)
{
    for (unsigned i = 0; i < 2 * CODE_MAX; i++)
        move_key(view, (uint16_t)(i < CODE_MAX ? i : 0xe000 + i - CODE_MAX), false);
}

static int difference(uint32_t now, uint32_t before)
{
    return (int)(uint16_t)now - (int)(uint16_t)before;
}

static void point(struct vnc_view *view, const struct vnc_event *event)
{
    const struct input_sink *input = &view->display.input;
    uint32_t pressed = event->buttons & ~view->buttons;
    int wheel = (pressed & BUTTON_WHEEL_DOWN ? 1 : 0) - (pressed & BUTTON_WHEEL_UP ? 1 : 0);
    unsigned buttons = (event->buttons & BUTTON_LEFT ? INPUT_BUTTON_LEFT : 0) |
                       (event->buttons & BUTTON_MIDDLE ? INPUT_BUTTON_MIDDLE : 0) |
                       (event->buttons & BUTTON_RIGHT ? INPUT_BUTTON_RIGHT : 0);
    int right = view->pointed ? difference(event->x, view->x) : 0;
    int down = view->pointed ? difference(event->y, view->y) : 0;
    input->pointer(input->opaque, right, down, wheel, buttons);
    view->pointed = true;
    view->x = event->x;
    view->y = event->y;
    view->buttons = event->buttons;
}

static void handle(struct vnc_view *view, const struct vnc_event *event)
{
    switch (event->kind) {
    case VNC_KEY:
        key(view, event->keysym, event->down);
        break;
    case VNC_POINTER:
        point(view, event);
        break;
    default:
        release_keys(view);
    }
}

static void server_ready(void *opaque, uint32_t events)
{
    struct vnc_view *view = opaque;
    struct vnc_event event;
    for (unsigned i = 0; i < BATCH_MAX; i++) {
        ssize_t length = read(view->fd, &event, sizeof(event));
        if (length < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (length != (ssize_t)sizeof(event)) {
            loop_watch_remove(view->watch);
            view->watch = NULL;
            log_message(view->display.host.log, LOG_ERROR,
                        "the VNC server's process has ended: the screen is not shown until nacre "
                        "is started again");
            return;
        }
        handle(view, &event);
    }
}

/* --- the view --- */

static int start_server(struct vnc_view *view, struct vnc_server_config *server,
                        const union address *address, struct error *error)
{
    struct helper_config helper = {
        .name = "nacre-vnc", .what = "--display vnc", .run = vnc_server_run, .opaque = server};
    helper.more = listen_at(view->display.config.address, address, error);
    if (helper.more < 0)
        return helper.more;
    int result = helper_start(&helper, error);
    if (result >= 0) {
        view->fd = result;
        say_where(&view->display, helper.more);
    }
    close(helper.more);
    return result < 0 ? result : 0;
}

static int vnc_create(struct display *display, struct error *error)
{
    struct vnc_view *view = (struct vnc_view *)display;
    struct vnc_server_config server = {.screen = display->screen, .guard = display->host.guard};
    const char *password_file = display->config.password_file;
    union address address;
    view->fd = -1;
    int result = parse_address(display->config.address, &address, error);
    if (result == 0 && !password_file && !is_loopback(&address))
        result =
            error_set(error, EINVAL,
                      "--display vnc=%s: others can reach that address: give a password-file=, "
                      "or listen on 127.0.0.1",
                      display->config.address);
    if (result == 0 && password_file)
        result = read_password(password_file, server.password, error);
    if (result == 0)
        result = start_server(view, &server, &address, error);
    explicit_bzero(server.password, sizeof(server.password));
    if (result < 0)
        return result;
    fcntl(view->fd, F_SETFL, O_NONBLOCK);
    view->watch = loop_watch_add(display->host.loop, view->fd, EPOLLIN, server_ready, view, error);
    return view->watch ? 0 : -EIO;
}

static void vnc_close(struct display *display)
{
    struct vnc_view *view = (struct vnc_view *)display;
    if (view->watch)
        loop_watch_remove(view->watch);
    if (view->fd >= 0)
        close(view->fd);
}

const struct display_ops display_vnc = {
    .name = "vnc",
    .word = "vnc=",
    .takes_address = true,
    .size = sizeof(struct vnc_view),
    .create = vnc_create,
    .close = vnc_close,
};
