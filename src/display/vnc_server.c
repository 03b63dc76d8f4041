/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The RFB protocol (RFC 6143) is libvncserver's. It reads what clients send and needs many system
 * calls, so it runs in a process that has the machine's video memory, to look at, and nothing else
 * of it. While somebody looks, the picture is drawn some 30 times a second and compared with what
 * clients have.
 */
#include "display/vnc_server.h"

#include "base/clock.h"
#include "base/helper.h"
#include "base/loop.h"
#include "display/picture.h"
#include "display/view.h"

#include <errno.h>
#include <rfb/rfb.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

/* For the rest of a message: then a client is cut off. For room libvncserver waits 5 seconds. */
#define CLIENT_WAIT_MS 2000
#define CLIENTS_MAX    4

struct vnc_server {
    struct screen *screen;
    struct loop *loop;
    struct loop_timer *timer;
    rfbScreenInfoPtr rfb;
    uint32_t *dots; /* what clients have or are about to get */
    unsigned client_count;
    char *passwords[2];
};

static struct vnc_server *server_of(rfbClientPtr client)
{
    return client->screen->screenData;
}

/* The machine has ended when this fails: the loop notices. */
static void tell(const struct vnc_event *event)
{
    if (write(HELPER_FD, event, sizeof(*event)) < 0)
        return;
}

/* --- the picture --- */

/* A changed area that grows line by line. */
struct band {
    unsigned left, right, top, bottom; /* right and bottom are outside; top == bottom: nothing */
};

static void band_flush(struct vnc_server *server, struct band *band)
{
    if (band->top < band->bottom)
        rfbMarkRectAsModified(server->rfb, (int)band->left, (int)band->top, (int)band->right,
                              (int)band->bottom);
    *band = (struct band){0};
}

static void band_add(struct band *band, unsigned line, unsigned left, unsigned right)
{
    if (band->top == band->bottom)
        *band = (struct band){left, right, line, line};
    band->left = left < band->left ? left : band->left;
    band->right = right > band->right ? right : band->right;
    band->bottom = line + 1;
}

/* Red comes first in what libvncserver sets up with each new size. */
static void swap_colours(uint32_t *dots, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        dots[i] = dots[i] >> 16 | (dots[i] & 0xff00) | (dots[i] & 0xff) << 16;
}

static void compare(struct vnc_server *server, const struct picture *picture)
{
    uint32_t dots[PICTURE_WIDTH_MAX];
    struct band band = {0};
    for (unsigned line = 0; line < picture->height; line++) {
        uint32_t *shown = server->dots + (size_t)line * picture->width;
        unsigned left = 0, right = picture->width;
        picture_draw_line(picture, server->screen->memory, line, dots);
        swap_colours(dots, picture->width);
        if (!memcmp(shown, dots, picture->width * sizeof(*dots))) {
            band_flush(server, &band);
            continue;
        }
        while (shown[left] == dots[left])
            left++;
        while (shown[right - 1] == dots[right - 1])
            right--;
        memcpy(shown + left, dots + left, (right - left) * sizeof(*dots));
        band_add(&band, line, left, right);
    }
    band_flush(server, &band);
}

/* Another size: clients that cannot change theirs see a part. */
static bool resize(struct vnc_server *server, unsigned width, unsigned height)
{
    uint32_t *dots = calloc((size_t)width * height, sizeof(*dots));
    if (!dots)
        return false;
    if (server->rfb)
        rfbNewFramebuffer(server->rfb, (char *)dots, (int)width, (int)height, 8, 3, 4);
    free(server->dots);
    server->dots = dots;
    return true;
}

static void look(void *opaque)
{
    struct vnc_server *server = opaque;
    struct screen_registers registers;
    struct picture picture;
    if (!server->client_count)
        return;
    if (screen_registers(server->screen, &registers)) {
        picture_describe(&picture, &registers);
        if (((int)picture.width == server->rfb->width &&
             (int)picture.height == server->rfb->height) ||
            resize(server, picture.width, picture.height))
            compare(server, &picture);
    }
    rfbProcessEvents(server->rfb, 0);
    loop_timer_arm(server->timer, clock_monotonic_ns() + VIEW_INTERVAL_NS);
}

/* --- clients --- */

static void key_event(rfbBool down, rfbKeySym keysym, rfbClientPtr client)
{
    tell(&(struct vnc_event){.kind = VNC_KEY, .keysym = keysym, .down = down});
}

static void pointer_event(int buttons, int x, int y, rfbClientPtr client)
{
    tell(&(struct vnc_event){
        .kind = VNC_POINTER, .x = (uint32_t)x, .y = (uint32_t)y, .buttons = (uint32_t)buttons});
    rfbDefaultPtrAddEvent(buttons, x, y, client);
}

static void client_ready(void *opaque, uint32_t events)
{
    rfbProcessEvents(((struct vnc_server *)opaque)->rfb, 0);
}

static void client_gone(rfbClientPtr client)
{
    struct vnc_server *server = server_of(client);
    loop_watch_remove(client->clientData);
    server->client_count--;
    tell(&(struct vnc_event){.kind = VNC_GONE});
}

/* Its socket is watched, so that libvncserver is asked only when there is something to do. */
static enum rfbNewClientAction client_came(rfbClientPtr client)
{
    struct vnc_server *server = server_of(client);
    client->clientData =
        loop_watch_add(server->loop, client->sock, EPOLLIN, client_ready, server, NULL);
    if (!client->clientData)
        return RFB_CLIENT_REFUSE;
    client->clientGoneHook = client_gone;
    if (!server->client_count++)
        loop_timer_arm(server->timer, clock_monotonic_ns());
    return RFB_CLIENT_ACCEPT;
}

static void connection_ready(void *opaque, uint32_t events)
{
    struct vnc_server *server = opaque;
    int fd = accept(HELPER_MORE, NULL, NULL);
    if (fd < 0)
        return;
    if (server->client_count < CLIENTS_MAX)
        rfbNewClient(server->rfb, fd);
    else
        close(fd);
}

/* --- the process --- */

/* Nothing comes from the machine but its end. */
static void machine_ended(void *opaque, uint32_t events)
{
    loop_stop(opaque);
}

/* libvncserver's messages are about its clients: nothing for the machine's user. */
static void quiet(const char *format, ...)
{
}

/* What the cipher's library does at its first use is done before the jail. */
static void warm_up(void)
{
    unsigned char bytes[16];
    char password[] = "password";
    rfbRandomBytes(bytes);
    rfbEncryptBytes(bytes, password);
}

static int open_rfb(struct vnc_server *server, struct vnc_server_config *config,
                    struct error *error)
{
    server->rfb = rfbGetScreen(NULL, NULL, 640, 400, 8, 3, 4);
    if (!server->rfb || !resize(server, 640, 400))
        return error_set(error, ENOMEM, "--display vnc: out of memory");
    rfbScreenInfoPtr rfb = server->rfb;
    rfb->desktopName = "nacre";
    rfb->screenData = server;
    rfb->port = rfb->ipv6port = 0; /* it listens nowhere by itself */
    rfb->alwaysShared = TRUE;
    rfb->cursor = NULL; /* the guest draws its own */
    rfb->deferUpdateTime = 0;
    rfb->maxClientWait = CLIENT_WAIT_MS;
    rfb->kbdAddEvent = key_event;
    rfb->ptrAddEvent = pointer_event;
    rfb->newClientHook = client_came;
    if (config->password[0]) {
        server->passwords[0] = config->password;
        rfb->authPasswdData = server->passwords;
        rfb->passwordCheck = rfbCheckPasswordByList;
    }
    rfbInitServer(rfb);
    return 0;
}

static int open_server(struct vnc_server *server, struct vnc_server_config *config,
                       struct error *error)
{
    rfbLog = rfbErr = quiet;
    warm_up();
    server->screen = config->screen;
    if (screen_protect(config->screen) < 0)
        return error_set(error, errno, "--display vnc: cannot protect video memory: %s",
                         strerror(errno));
    server->loop = loop_create(error);
    if (!server->loop)
        return -ENOMEM;
    server->timer = loop_timer_create(server->loop, look, server, error);
    if (!server->timer ||
        !loop_watch_add(server->loop, HELPER_FD, EPOLLIN, machine_ended, server->loop, error) ||
        !loop_watch_add(server->loop, HELPER_MORE, EPOLLIN, connection_ready, server, error))
        return -ENOMEM;
    return open_rfb(server, config, error);
}

void vnc_server_run(void *opaque)
{
    struct vnc_server_config *config = opaque;
    struct vnc_server server = {0};
    struct error error = {0};
    open_server(&server, config, &error);
    helper_started(&error);
    thread_enter(config->guard, THREAD_VIEW);
    loop_run(server.loop);
}
