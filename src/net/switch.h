/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A switch joins the machines of one user without root. It is a process of its own, started by the
 * first machine that names it, and ends with the last; it has its sockets, and nothing else.
 */
#ifndef NACRE_NET_SWITCH_H
#define NACRE_NET_SWITCH_H

#include "net/frame.h"

#define SWITCH_PORTS_MAX 64
#define SWITCH_HELLO     'S' /* what it says to a machine that it has taken */

/* Joins the switch. settings: "name=LAN". */
struct frame_backend *switch_open(char *settings, const struct frame_host *host,
                                  struct error *error);

/* The switch itself: until its last machine is gone. listener: a SOCK_SEQPACKET socket that
 * listens. -errno when it could not start. */
int switch_run(int listener, const struct thread_guard *guard);

#endif
