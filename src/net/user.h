/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_NET_USER_H
#define NACRE_NET_USER_H

#include "net/frame.h"

/* User-mode NAT by libslirp. settings: "hostfwd=...,restrict=on" (cut up in place), or NULL. */
struct frame_backend *user_open(char *settings, struct loop *loop, struct error *error);

#endif
