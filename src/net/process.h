/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A back end in a process of its own. A NAT reads whatever the guest and the Internet send and
 * needs more system calls than all the rest of nacre: there it has them, and neither the guest's
 * memory nor its disks. The two exchange frames over a pair of sockets.
 */
#ifndef NACRE_NET_PROCESS_H
#define NACRE_NET_PROCESS_H

#include "net/frame.h"

/* Runs the back end of that kind in a new process. Before other threads are made, and before
 * there is anything in memory that it should not see. NULL with *error, also the back end's. */
struct frame_backend *process_open(const struct frame_kind *kind, char *settings,
                                   const struct frame_host *host, struct error *error);

#endif
