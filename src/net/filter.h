/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Back ends on top of another: they see its frames in both directions on their way. Each takes over
 * what is below, and closes it, also when it fails: NULL with *error.
 */
#ifndef NACRE_NET_FILTER_H
#define NACRE_NET_FILTER_H

#include "base/rate_limit.h"
#include "net/frame.h"

/* Writes each frame that passes into a file in pcap's format. */
struct frame_backend *capture_open(struct frame_backend *below, const char *path,
                                   const struct frame_host *host, struct error *error);

/* Holds frames back, in each direction for itself. */
struct frame_backend *limit_open(struct frame_backend *below,
                                 const struct rate_limit_config *config,
                                 const struct frame_host *host, struct error *error);

#endif
