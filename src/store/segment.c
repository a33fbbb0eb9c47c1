/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layout, in the machine's own order of octets: each batch has a head of mark, size of the payload, number of the
 * batch, sum over number and payload; then the payload. Batches are numbered through all segments, so that a batch
 * of before, or of another file, is never taken for the next one.
 *
 * A batch is written behind the last and synced; only then is it acknowledged. What a crash leaves of one that was
 * being written has a wrong sum or is short: reading ends there. A segment gets no successor before it is
 * complete, so in all but the newest that is damage, and is refused.
 *
 * The sum: each step maps 64 bits one to one, so that a change within 8 octets is always seen, and others but for
 * one in 2^64. It is against accidents; who can write here can write anything.
 */
#include "store/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK UINT32_C(0x4c4a5747) /* "GWJL" */
#define NAME_FORMAT "journal-%016" PRIx64

struct head {
        uint32_t mark, size;
        uint64_t number, sum;
};
_Static_assert(sizeof(struct head) == GW_SEGMENT_HEAD, "the head has no holes");

struct name {
        char s[40];
};

static struct name name_of(uint64_t number) {
        struct name name;

        snprintf(name.s, sizeof name.s, NAME_FORMAT, number);
        return name;
}

static uint64_t step(uint64_t sum, uint64_t word) {
        sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        return sum ^ sum >> 29;
}

static uint64_t sum_of(uint64_t number, const uint8_t *octets, size_t size) {
        uint64_t sum = step(number, size), word;

        for (; size >= sizeof word; octets += sizeof word, size -= sizeof word) {
                memcpy(&word, octets, sizeof word);
                sum = step(sum, word);
        }
        word = 0;
        if (size)
                memcpy(&word, octets, size);
        return step(sum, word);
}

int gw_segment_create(struct gw_segment *s, int folder, uint64_t number) {
        int r;

        s->number = number;
        s->octets = 0;
        s->fd = openat(folder, name_of(number).s, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (s->fd < 0)
                return -errno;
        if (fsync(folder) == 0)
                return 0;
        r = -errno;
        gw_segment_close(s);
        return r;
}

void gw_segment_close(struct gw_segment *s) {
        if (s->fd >= 0)
                close(s->fd);
        s->fd = -1;
        s->octets = 0;
}

static int write_all(int fd, const uint8_t *octets, size_t size, off_t at) {
        while (size) {
                ssize_t n = pwrite(fd, octets, size, at);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                octets += n;
                size -= (size_t)n;
                at += n;
        }
        return 0;
}

int gw_segment_append(struct gw_segment *s, uint64_t batch_number, uint8_t *batch, size_t size) {
        struct head head = {MARK, (uint32_t)size, batch_number, sum_of(batch_number, batch + GW_SEGMENT_HEAD, size)};
        int r;

        memcpy(batch, &head, sizeof head);
        r = write_all(s->fd, batch, sizeof head + size, (off_t)s->octets);
        if (r == 0 && fdatasync(s->fd) < 0)
                r = -errno;
        if (r == 0)
                s->octets += sizeof head + size;
        else if (ftruncate(s->fd, (off_t)s->octets) <
                 0) /* so that a restart does not find what was never acknowledged */
                r = -EIO;
        return r;
}

int gw_segment_remove(int folder, uint64_t number) {
        if (unlinkat(folder, name_of(number).s, 0) < 0 && errno != ENOENT)
                return -errno;
        return fsync(folder) < 0 ? -errno : 0;
}

static int ascending(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

        return (x > y) - (x < y);
}

static DIR *open_folder(int folder) {
        int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);

        if (!dir && fd >= 0)
                close(fd);
        return dir;
}

ssize_t gw_segment_list(int folder, uint64_t **numbers) {
        DIR *dir = open_folder(folder);
        uint64_t *list = NULL, *more;
        struct dirent *entry;
        size_t n = 0;

        if (!dir)
                return -errno;
        while ((entry = readdir(dir))) {
                uint64_t number;

                if (sscanf(entry->d_name, "journal-%16" SCNx64, &number) != 1 ||
                    strcmp(entry->d_name, name_of(number).s))
                        continue;
                more = reallocarray(list, n + 1, sizeof *list);
                if (!more)
                        goto no_memory;
                list = more;
                list[n++] = number;
        }
        closedir(dir);
        if (n)
                qsort(list, n, sizeof *list, ascending);
        *numbers = list;
        return (ssize_t)n;

no_memory:
        free(list);
        closedir(dir);
        return -ENOMEM;
}

/* The size of the batch's payload; -1: there is none, or not the whole of it. */
static ssize_t batch_at(const uint8_t *octets, size_t size, uint64_t *next) {
        struct head head;

        if (size < sizeof head)
                return -1;
        memcpy(&head, octets, sizeof head);
        if (head.mark != MARK || head.size > size - sizeof head || (*next && head.number != *next) || !head.number ||
            sum_of(head.number, octets + sizeof head, head.size) != head.sum)
                return -1;
        *next = head.number + 1;
        return (ssize_t)head.size;
}

static int read_batches(const uint8_t *octets, size_t size, bool newest, uint64_t *next,
                        int (*each)(const uint8_t *payload, size_t size, void *user), void *user) {
        ssize_t n;
        int r = 0;

        while (size && r == 0 && (n = batch_at(octets, size, next)) >= 0) {
                r = each(octets + GW_SEGMENT_HEAD, (size_t)n, user);
                octets += GW_SEGMENT_HEAD + n;
                size -= GW_SEGMENT_HEAD + (size_t)n;
        }
        return r == 0 && size && !newest ? -EBADMSG : r;
}

int gw_segment_read(int folder, uint64_t number, bool newest, uint64_t *next,
                    int (*each)(const uint8_t *payload, size_t size, void *user), void *user) {
        int fd = openat(folder, name_of(number).s, O_RDONLY | O_CLOEXEC), r = 0;
        void *octets = MAP_FAILED;
        struct stat stat = {0};

        if (fd < 0 || fstat(fd, &stat) < 0)
                r = -errno;
        if (r == 0 && stat.st_size) {
                octets = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
                r = octets == MAP_FAILED ? -errno
                                         : read_batches(octets, (size_t)stat.st_size, newest, next, each, user);
        }
        if (octets != MAP_FAILED)
                munmap(octets, (size_t)stat.st_size);
        if (fd >= 0)
                close(fd);
        return r;
}
