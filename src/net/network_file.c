/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of the host's networks: a file each, "key=value" a line. */
#include "net/network_private.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLDER     "network"
#define PREFIX_MIN 8
#define PREFIX_MAX 29

int network_path(char path[NETWORK_PATH_MAX], const char *part, const char *name,
                 const char *ending, struct error *error)
{
    char folder[RUNTIME_FOLDER_MAX];
    int result = runtime_folder(folder, part, error);
    snprintf(path, NETWORK_PATH_MAX, "%s/%s%s", folder, name, ending);
    return result;
}

int network_parse_address(struct network *network, const char *text, struct error *error)
{
    char address[INET_ADDRSTRLEN];
    int used = 0;
    if (sscanf(text, "%15[0-9.]/%u%n", address, &network->prefix, &used) == 2 && !text[used] &&
        inet_pton(AF_INET, address, &network->address) == 1 && network->prefix >= PREFIX_MIN &&
        network->prefix <= PREFIX_MAX)
        return 0;
    return error_set(error, EINVAL,
                     "%s: write it as 10.1.2.1/24: the bridge's own, and %d to %d bits", text,
                     PREFIX_MIN, PREFIX_MAX);
}

int network_write(const struct network *network, struct error *error)
{
    char path[NETWORK_PATH_MAX], address[INET_ADDRSTRLEN];
    int result = network_path(path, FOLDER, network->name, "", error);
    if (result < 0)
        return result;
    FILE *file = fopen(path, "wxe");
    if (!file && errno == EEXIST)
        return error_set(error, EEXIST,
                         "network %s: there is one already; nacre network delete %s removes it",
                         network->name, network->name);
    if (!file)
        return error_set(error, errno, "%s: %s", path, strerror(errno));
    fprintf(file, "kind=%s\n", network->nat ? "nat" : "bridge");
    if (network->address.s_addr)
        fprintf(file, "address=%s/%u\n",
                inet_ntop(AF_INET, &network->address, address, sizeof(address)), network->prefix);
    if (*network->uplink)
        fprintf(file, "uplink=%s\n", network->uplink);
    if (fclose(file) == 0)
        return 0;
    return error_set(error, errno, "%s: %s", path, strerror(errno));
}

int network_remove_file(const char *name, struct error *error)
{
    char path[NETWORK_PATH_MAX];
    int result = network_path(path, FOLDER, name, "", error);
    if (result == 0 && unlink(path) < 0 && errno != ENOENT)
        result = error_set(error, errno, "%s: %s", path, strerror(errno));
    return result;
}

static int read_line(struct network *network, const char *line, struct error *error)
{
    if (!strncmp(line, "address=", 8))
        return network_parse_address(network, line + 8, error);
    if (!strncmp(line, "uplink=", 7))
        snprintf(network->uplink, sizeof(network->uplink), "%.*s", IFNAMSIZ - 1, line + 7);
    else
        network->nat |= !strcmp(line, "kind=nat");
    return 0;
}

int network_read(struct network *network, const char *name, struct error *error)
{
    char path[NETWORK_PATH_MAX], line[128];
    *network = (struct network){0};
    snprintf(network->name, sizeof(network->name), "%s", name);
    int result = network_path(path, FOLDER, name, "", error);
    FILE *file = result == 0 ? fopen(path, "re") : NULL;
    if (result == 0 && !file && errno == ENOENT)
        return error_set(error, ENOENT, "network %s: there is none; nacre network list shows all",
                         name);
    if (result == 0 && !file)
        result = error_set(error, errno, "%s: %s", path, strerror(errno));
    while (result == 0 && fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = 0;
        result = read_line(network, line, error);
    }
    if (file)
        fclose(file);
    return result;
}

int network_list(void (*show)(void *opaque, const struct network *network), void *opaque,
                 struct error *error)
{
    char folder[RUNTIME_FOLDER_MAX];
    int result = runtime_folder(folder, FOLDER, error);
    if (result < 0)
        return result;
    DIR *entries = opendir(folder);
    if (!entries)
        return error_set(error, errno, "%s: %s", folder, strerror(errno));
    for (struct dirent *entry; result == 0 && (entry = readdir(entries));) {
        struct network network;
        if (entry->d_name[0] == '.' || strlen(entry->d_name) >= IFNAMSIZ)
            continue;
        result = network_read(&network, entry->d_name, error);
        if (result == 0)
            show(opaque, &network);
    }
    closedir(entries);
    return result;
}

int network_port_count(const char *name)
{
    char path[64];
    snprintf(path, sizeof(path), "/sys/class/net/%s/brif", name);
    DIR *entries = opendir(path);
    int count = 0;
    if (!entries)
        return -1;
    for (struct dirent *entry; (entry = readdir(entries));)
        count += entry->d_name[0] != '.';
    closedir(entries);
    return count;
}
