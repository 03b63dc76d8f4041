/* SPDX-License-Identifier: Apache-2.0 */
#include "control/channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int channel_pair(int ends[2], struct error *error)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0)
        return 0;
    return error_set(error, errno, "cannot make a pair of sockets: %s", strerror(errno));
}

union descriptor_space {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(CHANNEL_DESCRIPTORS_MAX * sizeof(int))];
};

static int send_text(int end, char *text, const struct channel_message *message)
{
    union descriptor_space space = {0};
    struct iovec vector = {.iov_base = text, .iov_len = strlen(text)};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
    /* Without descriptors a write will do, which a jail allows anyway. */
    if (!message->fd_count)
        return write(end, text, vector.iov_len) < 0 ? -errno : 0;
    size_t size = message->fd_count * sizeof(int);
    header.msg_control = space.bytes;
    header.msg_controllen = CMSG_SPACE(size);
    space.header.cmsg_level = SOL_SOCKET;
    space.header.cmsg_type = SCM_RIGHTS;
    space.header.cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(&space.header), message->fds, size);
    return sendmsg(end, &header, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int channel_send(int end, const struct channel_message *message)
{
    char *text = json_dumps(message->json, JSON_COMPACT);
    if (!text)
        return -ENOMEM;
    int result = strlen(text) > CHANNEL_MESSAGE_MAX ? -EMSGSIZE : send_text(end, text, message);
    free(text);
    return result;
}

static void take_descriptors(struct msghdr *header, struct channel_message *message)
{
    struct cmsghdr *part = CMSG_FIRSTHDR(header);
    if (!part || part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
        return;
    message->fd_count = (unsigned)((part->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(message->fds, CMSG_DATA(part), message->fd_count * sizeof(int));
}

int channel_receive(int end, struct channel_message *message)
{
    char text[CHANNEL_MESSAGE_MAX];
    union descriptor_space space;
    struct iovec vector = {.iov_base = text, .iov_len = sizeof(text)};
    struct msghdr header = {.msg_iov = &vector,
                            .msg_iovlen = 1,
                            .msg_control = space.bytes,
                            .msg_controllen = sizeof(space.bytes)};
    *message = (struct channel_message){0};
    ssize_t count = recvmsg(end, &header, MSG_CMSG_CLOEXEC);
    if (count <= 0)
        return count < 0 ? -errno : 0;
    take_descriptors(&header, message);
    if (!(header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        message->json = json_loadb(text, (size_t)count, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(message->json))
        return 1;
    channel_release(message);
    return -EBADMSG;
}

void channel_release(struct channel_message *message)
{
    json_decref(message->json);
    for (unsigned i = 0; i < message->fd_count; i++)
        if (message->fds[i] >= 0)
            close(message->fds[i]);
    *message = (struct channel_message){0};
}
