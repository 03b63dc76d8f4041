/* SPDX-License-Identifier: Apache-2.0 */
/* The process of --display vnc, and what it tells the machine. */
#ifndef NACRE_DISPLAY_VNC_SERVER_H
#define NACRE_DISPLAY_VNC_SERVER_H

#include "base/thread.h"
#include "display/screen.h"

/* Protocols' own limit: DES takes a key of so many characters. RFC 6143 §7.2.2 */
#define VNC_PASSWORD_MAX 8

enum vnc_event_kind { VNC_KEY, VNC_POINTER, VNC_GONE };

/* What a client has done. As far from trust as the client: the machine checks it. */
struct vnc_event {
    uint32_t kind;
    uint32_t keysym, down; /* VNC_KEY */
    uint32_t x, y;         /* VNC_POINTER: dots */
    uint32_t buttons;      /* VNC_POINTER: RFC 6143 §7.5.5 */
};

struct vnc_server_config {
    struct screen *screen;
    const struct thread_guard *guard;
    char password[VNC_PASSWORD_MAX + 1]; /* "": none */
};

/* A helper's life (base/helper.h); opaque: struct vnc_server_config. HELPER_MORE is the socket that
 * listens. */
void vnc_server_run(void *opaque);

#endif
