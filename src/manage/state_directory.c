/* SPDX-License-Identifier: Apache-2.0 */
#include "manage/state_directory.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int vm_name_check(const char *what, const char *name, struct error *error)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t length = strlen(name);
    if (length && length <= VM_NAME_MAX && strspn(name, allowed) == length &&
        isalnum((unsigned char)name[0]))
        return 0;
    return error_set(error, EINVAL,
                     "%s %s: must be 1 to %d letters, digits, dots, dashes and underscores, the "
                     "first a letter or digit",
                     what, name, VM_NAME_MAX);
}

static int state_root(char path[PATH_MAX], struct error *error)
{
    const char *state = getenv("NACRE_STATE"), *xdg = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    int length;
    if (state && *state == '/')
        length = snprintf(path, PATH_MAX, "%s", state);
    else if (state && *state)
        return error_set(error, EINVAL, "NACRE_STATE=%s: must be an absolute path", state);
    else if (getuid() == 0)
        length = snprintf(path, PATH_MAX, "/var/lib/nacre");
    else if (xdg && *xdg == '/')
        length = snprintf(path, PATH_MAX, "%s/nacre", xdg);
    else if (home && *home == '/')
        length = snprintf(path, PATH_MAX, "%s/.local/state/nacre", home);
    else
        return error_set(error, ENOENT, "no place for VMs: set HOME or NACRE_STATE");
    if (length < PATH_MAX / 2) /* names of files follow */
        return 0;
    return error_set(error, ENAMETOOLONG, "the path of the state directory is too long");
}

static int fail(const struct state_directory *directory, struct error *error)
{
    return error_set(error, errno, "%s: %s", directory->path, strerror(errno));
}

static int set_path(struct state_directory *directory, const char *name, struct error *error)
{
    char root[PATH_MAX];
    *directory = (struct state_directory){.fd = -1, .lock_fd = -1};
    int result = vm_name_check("VM", name, error);
    if (result == 0)
        result = state_root(root, error);
    if (result < 0)
        return result;
    memcpy(directory->name, name, strlen(name));
    snprintf(directory->path, sizeof(directory->path), "%.*s/%s", PATH_MAX / 2, root, name);
    return 0;
}

/* The directory and those above it. */
static int make_directories(const char *path)
{
    char part[PATH_MAX];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return -errno;
    }
    return mkdir(path, 0700) < 0 ? -errno : 0;
}

static int open_directory(struct state_directory *directory, struct error *error)
{
    struct stat status;
    directory->fd = open(directory->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (directory->fd < 0 || fstat(directory->fd, &status) < 0)
        return fail(directory, error);
    if (status.st_uid == geteuid() && !(status.st_mode & 077))
        return 0;
    return error_set(error, EPERM,
                     "%s: must be yours and nobody else's to read or write: chmod 700",
                     directory->path);
}

int state_directory_create(struct state_directory *directory, const char *name, struct error *error)
{
    int result = set_path(directory, name, error);
    if (result < 0)
        return result;
    result = make_directories(directory->path);
    if (result == -EEXIST)
        return error_set(error, EEXIST, "VM %s: there is one already; nacre delete %s removes it",
                         name, name);
    if (result < 0)
        return error_set(error, -result, "%s: %s", directory->path, strerror(-result));
    return open_directory(directory, error);
}

int state_directory_open(struct state_directory *directory, const char *name, struct error *error)
{
    int result = set_path(directory, name, error);
    if (result < 0)
        return result;
    if (access(directory->path, F_OK) < 0 && errno == ENOENT)
        return error_set(error, ENOENT, "VM %s: there is none; nacre list shows all", name);
    return open_directory(directory, error);
}

void state_directory_close(struct state_directory *directory)
{
    if (directory->lock_fd >= 0)
        close(directory->lock_fd);
    if (directory->fd >= 0)
        close(directory->fd);
    directory->fd = directory->lock_fd = -1;
}

/* --- the lock --- */

static int open_lock(const struct state_directory *directory, int flags)
{
    return openat(directory->fd, "lock", flags | O_CLOEXEC | O_NOFOLLOW, 0600);
}

int state_directory_lock(struct state_directory *directory, struct error *error)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char line[16];
    int fd = open_lock(directory, O_RDWR | O_CREAT);
    if (fd < 0)
        return fail(directory, error);
    directory->lock_fd = fd;
    if (fcntl(fd, F_OFD_SETLK, &whole) < 0)
        return error_set(error, EBUSY, "VM %s: process %d is running it", directory->name,
                         state_directory_owner(directory));
    int length = snprintf(line, sizeof(line), "%d\n", (int)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, line, (size_t)length, 0) != length)
        return fail(directory, error);
    return 0;
}

int state_directory_owner(const struct state_directory *directory)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char line[16] = "";
    int fd = open_lock(directory, O_RDWR);
    if (fd < 0)
        return 0;
    bool held = fcntl(fd, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
    ssize_t count = held ? pread(fd, line, sizeof(line) - 1, 0) : 0;
    close(fd);
    int owner = count > 0 ? (int)strtol(line, NULL, 10) : 0;
    return held && owner <= 0 ? 1 : owner; /* it is about to write its number */
}

/* --- files --- */

void state_directory_file(const struct state_directory *directory, const char *file,
                          char path[STATE_PATH_MAX])
{
    snprintf(path, STATE_PATH_MAX, "%s/%.30s", directory->path, file);
}

static int write_all(int fd, const char *text)
{
    for (size_t left = strlen(text); left;) {
        ssize_t count = write(fd, text, left);
        if (count < 0)
            return -errno;
        text += count;
        left -= (size_t)count;
    }
    return fsync(fd) < 0 ? -errno : 0;
}

int state_directory_write(const struct state_directory *directory, const char *file,
                          const char *text, struct error *error)
{
    char new_file[NAME_MAX];
    snprintf(new_file, sizeof(new_file), "%s.new", file);
    int fd = openat(directory->fd, new_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int result = fd < 0 ? -errno : write_all(fd, text);
    if (fd >= 0)
        close(fd);
    if (result == 0 &&
        (renameat(directory->fd, new_file, directory->fd, file) < 0 || fsync(directory->fd) < 0))
        result = -errno;
    if (result < 0)
        error_set(error, -result, "%s/%s: %s", directory->path, file, strerror(-result));
    return result;
}

/* All that is in the folder, which is not the caller's any more; folders in it as far as `levels`.
 * -errno with the name of what stays. */
static int remove_content(int fd, unsigned levels, char stays[NAME_MAX + 1])
{
    DIR *folder = fdopendir(fd);
    int result = 0;
    if (!folder) {
        close(fd);
        return -errno;
    }
    for (const struct dirent *entry; result == 0 && (entry = readdir(folder));) {
        const char *name = entry->d_name;
        bool is_folder = entry->d_type == DT_DIR;
        if (!strcmp(name, ".") || !strcmp(name, ".."))
            continue;
        int inside = is_folder && levels
                         ? openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                         : -1;
        if (inside >= 0)
            result = remove_content(inside, levels - 1, stays);
        if (result == 0 && unlinkat(fd, name, is_folder ? AT_REMOVEDIR : 0) < 0) {
            result = -errno;
            snprintf(stays, NAME_MAX + 1, "%s", name);
        }
    }
    closedir(folder);
    return result;
}

int state_directory_rename(struct state_directory *directory, const char *name, struct error *error)
{
    struct state_directory renamed;
    int result = set_path(&renamed, name, error);
    if (result < 0)
        return result;
    if (renameat2(AT_FDCWD, directory->path, AT_FDCWD, renamed.path, RENAME_NOREPLACE) < 0)
        return errno == EEXIST ? error_set(error, EEXIST, "VM %s: there is one already", name)
                               : fail(directory, error);
    memcpy(directory->name, renamed.name, sizeof(renamed.name));
    memcpy(directory->path, renamed.path, sizeof(renamed.path));
    return 0;
}

/* Snapshots are folders in a folder. */
#define LEVELS_MAX 2

int state_directory_delete(struct state_directory *directory, struct error *error)
{
    char stays[NAME_MAX + 1] = "";
    int fd = dup(directory->fd);
    if (fd < 0)
        return fail(directory, error);
    int result = remove_content(fd, LEVELS_MAX, stays);
    if (result < 0)
        return error_set(error, -result, "%s/%s: %s", directory->path, stays, strerror(-result));
    return rmdir(directory->path) < 0 ? fail(directory, error) : 0;
}

/* --- all VMs --- */

static int is_vm(const struct dirent *entry)
{
    struct error ignored;
    return entry->d_type == DT_DIR && vm_name_check("VM", entry->d_name, &ignored) == 0;
}

int state_directory_names(char ***names, unsigned *count, struct error *error)
{
    char root[PATH_MAX];
    struct dirent **entries;
    *names = NULL;
    *count = 0;
    int result = state_root(root, error);
    if (result < 0)
        return result;
    int found = scandir(root, &entries, is_vm, alphasort);
    if (found < 0 && errno == ENOENT)
        return 0; /* no VM yet */
    if (found < 0)
        return error_set(error, errno, "%s: %s", root, strerror(errno));
    *names = calloc((size_t)found + 1, sizeof(**names));
    for (int i = 0; i < found; i++) {
        if (*names && ((*names)[*count] = strdup(entries[i]->d_name)))
            ++*count;
        free(entries[i]);
    }
    free(entries);
    return *names ? 0 : error_set(error, ENOMEM, "out of memory");
}

void state_directory_free_names(char **names, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        free(names[i]);
    free(names);
}
