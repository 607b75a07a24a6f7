/* A file system that knows what is on disk: cutfs <live> <durable> <mount point>.
 *
 * It shows the folder <live>. What is written goes there at once, as into the memory of a kernel; fsync, fdatasync and
 * O_SYNC copy the extents that were written since, and no others, to the same file under <durable>. A power cut is: kill
 * everybody, unmount, and go on with a copy of <durable>. Names (create, rename, unlink, truncate to less) are durable at
 * once, so a file that was renamed before its bytes were synced is found with its new name and without them.
 *
 * One thread. gcc cutfs.c $(pkg-config --cflags --libs fuse3) -o cutfs
 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 31
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct extent { off_t from, to; };

/* What was written to an inode of <live> and not synced. Kept until the inode is gone. */
struct node {
    ino_t ino;
    struct extent *dirty;
    size_t count, room;
    int resized;
    struct node *next;
};

struct file { int live, durable, sync; struct node *node; };

static char live_root[PATH_MAX], durable_root[PATH_MAX];
static struct node *nodes[4096];

static const char *in(const char *root, const char *path) {
    static char names[8][PATH_MAX];
    static int turn;
    char *name = names[turn = (turn + 1) % 8];
    snprintf(name, PATH_MAX, "%s%s", root, path);
    return name;
}
#define LIVE(path) in(live_root, path)
#define DURABLE(path) in(durable_root, path)
#define CHECK(call) do { if ((call) == -1) return -errno; } while (0)

static struct node *node_of(ino_t ino) {
    struct node **slot = &nodes[ino % 4096];
    for (struct node *node = *slot; node; node = node->next)
        if (node->ino == ino) return node;
    struct node *node = calloc(1, sizeof *node);
    node->ino = ino;
    node->next = *slot;
    return *slot = node;
}

static void forget(ino_t ino) {
    for (struct node **slot = &nodes[ino % 4096]; *slot; slot = &(*slot)->next)
        if ((*slot)->ino == ino) {
            /* Open files may still point to it: emptied, not freed. */
            (*slot)->count = 0;
            (*slot)->resized = 0;
            (*slot)->ino = 0;
            *slot = (*slot)->next;
            return;
        }
}

static void mark(struct node *node, off_t from, off_t to) {
    if (node->count) {
        struct extent *last = &node->dirty[node->count - 1];
        if (from >= last->from && from <= last->to) {
            if (to > last->to) last->to = to;
            return;
        }
    }
    if (node->count == node->room) {
        node->room = node->room ? 2 * node->room : 16;
        node->dirty = realloc(node->dirty, node->room * sizeof *node->dirty);
    }
    node->dirty[node->count++] = (struct extent){from, to};
}

static int flush_node(struct file *file) {
    static char buffer[1 << 20];
    struct node *node = file->node;
    struct stat now, then;
    for (size_t i = 0; i < node->count; i++)
        for (off_t at = node->dirty[i].from; at < node->dirty[i].to;) {
            size_t size = node->dirty[i].to - at < (off_t)sizeof buffer ? node->dirty[i].to - at : (off_t)sizeof buffer;
            ssize_t got = pread(file->live, buffer, size, at);
            if (got == -1) return -errno;
            if (got == 0) break;
            if (pwrite(file->durable, buffer, got, at) != got) return -EIO;
            at += got;
        }
    node->count = 0;
    CHECK(fstat(file->live, &now));
    CHECK(fstat(file->durable, &then));
    if (now.st_size != then.st_size) CHECK(ftruncate(file->durable, now.st_size));
    node->resized = 0;
    return 0;
}

static int cut_getattr(const char *path, struct stat *st, struct fuse_file_info *fi) {
    if (fi && fi->fh) CHECK(fstat(((struct file *)fi->fh)->live, st));
    else CHECK(lstat(LIVE(path), st));
    return 0;
}

static int cut_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t offset, struct fuse_file_info *fi,
                       enum fuse_readdir_flags flags) {
    (void)offset, (void)fi, (void)flags;
    DIR *dir = opendir(LIVE(path));
    if (!dir) return -errno;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (fill(buf, entry->d_name, NULL, 0, 0)) break;
    closedir(dir);
    return 0;
}

static int opened(const char *path, int flags, mode_t mode, struct fuse_file_info *fi) {
    struct file *file = calloc(1, sizeof *file);
    struct stat st;
    /* Read as well as written: what is synced is read back. The kernel appends by itself. */
    int how = (flags & (O_CREAT | O_EXCL | O_TRUNC)) | O_RDWR;
    file->live = open(LIVE(path), how, mode);
    file->sync = (flags & (O_SYNC | O_DSYNC)) != 0;
    if (file->live == -1 && (errno == EACCES || errno == EROFS)) file->live = open(LIVE(path), O_RDONLY);
    if (file->live == -1) {
        int error = errno;
        free(file);
        return -error;
    }
    file->durable = open(DURABLE(path), O_RDWR | (flags & (O_CREAT | O_TRUNC)), mode);
    fstat(file->live, &st);
    file->node = node_of(st.st_ino);
    if (flags & O_TRUNC) file->node->count = 0;
    fi->fh = (uint64_t)file;
    return 0;
}

static int cut_open(const char *path, struct fuse_file_info *fi) { return opened(path, fi->flags & ~O_CREAT, 0, fi); }

static int cut_create(const char *path, mode_t mode, struct fuse_file_info *fi) {
    return opened(path, fi->flags | O_CREAT, mode, fi);
}

static int cut_release(const char *path, struct fuse_file_info *fi) {
    (void)path;
    struct file *file = (struct file *)fi->fh;
    close(file->live);
    if (file->durable != -1) close(file->durable);
    free(file);
    return 0;
}

static int cut_read(const char *path, char *buf, size_t size, off_t at, struct fuse_file_info *fi) {
    (void)path;
    ssize_t got = pread(((struct file *)fi->fh)->live, buf, size, at);
    return got == -1 ? -errno : (int)got;
}

static int cut_write(const char *path, const char *buf, size_t size, off_t at, struct fuse_file_info *fi) {
    (void)path;
    struct file *file = (struct file *)fi->fh;
    ssize_t put = pwrite(file->live, buf, size, at);
    if (put == -1) return -errno;
    mark(file->node, at, at + put);
    if (file->sync) {
        int failed = flush_node(file);
        if (failed) return failed;
    }
    return (int)put;
}

static int cut_fsync(const char *path, int data, struct fuse_file_info *fi) {
    (void)path, (void)data;
    return flush_node((struct file *)fi->fh);
}

static int cut_fsyncdir(const char *path, int data, struct fuse_file_info *fi) {
    (void)path, (void)data, (void)fi;
    return 0;
}

static int cut_truncate(const char *path, off_t size, struct fuse_file_info *fi) {
    struct stat st;
    (void)fi;
    CHECK(truncate(LIVE(path), size));
    CHECK(stat(LIVE(path), &st));
    struct node *node = node_of(st.st_ino);
    for (size_t i = 0; i < node->count; i++) {
        if (node->dirty[i].from > size) node->dirty[i].from = size;
        if (node->dirty[i].to > size) node->dirty[i].to = size;
    }
    if (stat(DURABLE(path), &st) == 0 && st.st_size > size) CHECK(truncate(DURABLE(path), size));
    node->resized = 1;
    return 0;
}

static int cut_fallocate(const char *path, int mode, off_t at, off_t size, struct fuse_file_info *fi) {
    (void)path;
    struct file *file = (struct file *)fi->fh;
    if (mode) return -EOPNOTSUPP;
    int failed = posix_fallocate(file->live, at, size);
    file->node->resized = 1;
    return -failed;
}

static int cut_rename(const char *from, const char *to, unsigned flags) {
    struct stat st;
    if (flags) return -EINVAL;
    if (lstat(LIVE(to), &st) == 0) forget(st.st_ino);
    CHECK(rename(LIVE(from), LIVE(to)));
    CHECK(rename(DURABLE(from), DURABLE(to)));
    return 0;
}

static int cut_unlink(const char *path) {
    struct stat st;
    if (lstat(LIVE(path), &st) == 0 && st.st_nlink == 1) forget(st.st_ino);
    CHECK(unlink(LIVE(path)));
    unlink(DURABLE(path));
    return 0;
}

static int cut_mknod(const char *path, mode_t mode, dev_t dev) {
    CHECK(mknod(LIVE(path), mode, dev));
    mknod(DURABLE(path), mode, dev);
    return 0;
}

static int cut_mkdir(const char *path, mode_t mode) {
    CHECK(mkdir(LIVE(path), mode));
    CHECK(mkdir(DURABLE(path), mode));
    return 0;
}

static int cut_rmdir(const char *path) {
    CHECK(rmdir(LIVE(path)));
    rmdir(DURABLE(path));
    return 0;
}

static int cut_link(const char *from, const char *to) {
    CHECK(link(LIVE(from), LIVE(to)));
    CHECK(link(DURABLE(from), DURABLE(to)));
    return 0;
}

static int cut_chmod(const char *path, mode_t mode, struct fuse_file_info *fi) {
    (void)fi;
    CHECK(chmod(LIVE(path), mode));
    chmod(DURABLE(path), mode);
    return 0;
}

static int cut_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *fi) {
    (void)fi;
    CHECK(lchown(LIVE(path), uid, gid));
    if (lchown(DURABLE(path), uid, gid) == -1) return 0;
    return 0;
}

static int cut_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *fi) {
    (void)fi;
    CHECK(utimensat(AT_FDCWD, LIVE(path), times, AT_SYMLINK_NOFOLLOW));
    return 0;
}

static int cut_statfs(const char *path, struct statvfs *st) {
    CHECK(statvfs(LIVE(path), st));
    return 0;
}

static void *cut_init(struct fuse_conn_info *conn, struct fuse_config *config) {
    (void)conn;
    config->use_ino = 1;
    config->hard_remove = 1; /* an unlinked file lives on in its open handles */
    config->nullpath_ok = 0;
    config->attr_timeout = config->entry_timeout = 0;
    return NULL;
}

static const struct fuse_operations operations = {
    .init = cut_init,       .getattr = cut_getattr,   .readdir = cut_readdir,     .open = cut_open,
    .create = cut_create,   .release = cut_release,   .read = cut_read,           .write = cut_write,
    .fsync = cut_fsync,     .fsyncdir = cut_fsyncdir, .truncate = cut_truncate,   .fallocate = cut_fallocate,
    .rename = cut_rename,   .unlink = cut_unlink,     .mknod = cut_mknod,         .mkdir = cut_mkdir,
    .rmdir = cut_rmdir,     .link = cut_link,         .chmod = cut_chmod,         .chown = cut_chown,
    .utimens = cut_utimens, .statfs = cut_statfs,
};

int main(int argc, char **argv) {
    if (argc != 4 || !realpath(argv[1], live_root) || !realpath(argv[2], durable_root)) {
        fprintf(stderr, "usage: cutfs <live> <durable> <mount point>\n");
        return 2;
    }
    umask(0);
    char *words[] = {argv[0], "-f", "-s", "-o", "allow_other,default_permissions", argv[3], NULL};
    return fuse_main(6, words, &operations, NULL);
}
