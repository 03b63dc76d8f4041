/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets at paths of any length: a socket's address holds 107 characters, so it is named by
 * way of its folder's descriptor. */
#ifndef NACRE_BASE_UNIX_SOCKET_H
#define NACRE_BASE_UNIX_SOCKET_H

#include "base/error.h"

#include <sys/types.h>

/* A listening socket for our user only; a file that a dead process has left at the path is
 * replaced. -errno with *error. */
int unix_socket_listen(const char *path, struct error *error);
/* A connection. -errno with *error: ENOENT and ECONNREFUSED when nobody serves it. */
int unix_socket_connect(const char *path, struct error *error);
/* Who is at the other end, as process_describe() says it. */
void unix_socket_peer(int fd, char *text, size_t size);

/* "root (process 1234)". */
void process_describe(uid_t user, pid_t process, char *text, size_t size);

#endif
