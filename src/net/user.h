/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_NET_USER_H
#define NACRE_NET_USER_H

#include "net/frame.h"

/* User-mode NAT by libslirp. settings: as in user_settings.c, or NULL. */
struct frame_backend *user_open(char *settings, const struct frame_host *host, struct error *error);

#endif
