/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_NET_TAP_H
#define NACRE_NET_TAP_H

#include "net/frame.h"

/* A network interface of the host's. settings: as in tap.c, or NULL. */
struct frame_backend *tap_open(char *settings, const struct frame_host *host, struct error *error);

#endif
