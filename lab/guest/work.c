/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that works, and knows what it has done: it writes to memory and to every
 * disk, and notices one write that was lost, done twice or put elsewhere, whatever
 * has happened to it meanwhile.
 *
 *      guest-work MIB PAGES_A_SECOND [DISK..]
 *
 * Memory is a row of pages. Each says which one it is and how often it was written,
 * in its first and in its last words; how often it should have been is kept apart,
 * in a table. A page is checked, then written, then the table is; all pages in turn.
 * A disk is the same, in blocks, past every cache (O_DIRECT): checked and written
 * in an order that walks over all of it. What is found wrong is counted and told
 * for ever: a line per second on standard output says
 *
 *      work: pages=N blocks=N bad=N
 *
 * The disk's table starts anew with the program, and each block's first write is
 * not checked: after a cold start there is another program.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/fs.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, WORDS = PAGE / 8, TICKS = 50, BLOCKS_A_TICK = 2, STRIDE = 7, DISKS_MAX = 8, BLOCKS_MAX = 1 << 16 };

struct disk {
        int fd;
        uint32_t *written; /* how often, by block */
        uint64_t n, at;
};

static uint64_t bad, pages_done, blocks_done;

static void fill(uint64_t *page, uint64_t number, uint64_t round) {
        page[0] = number;
        page[1] = round;
        page[2] = number * 0x9e3779b97f4a7c15 ^ round;
        page[WORDS / 2] = page[2];
        page[WORDS - 1] = round;
}

static int is_as_filled(const uint64_t *page, uint64_t number, uint64_t round) {
        uint64_t sum = number * 0x9e3779b97f4a7c15 ^ round;

        return page[0] == number && page[1] == round && page[2] == sum && page[WORDS / 2] == sum &&
               page[WORDS - 1] == round;
}

static void say_bad(const char *what, uint64_t number, const uint64_t *page, uint64_t expected) {
        if (bad++ < 5)
                printf("work: %s %llu: round %llu of page %llu, expected %llu\n", what, (unsigned long long)number,
                       (unsigned long long)page[1], (unsigned long long)page[0], (unsigned long long)expected);
}

static void work_page(uint64_t *memory, uint32_t *written, uint64_t number) {
        uint64_t *page = memory + number * WORDS;

        if (written[number] && !is_as_filled(page, number, written[number]))
                say_bad("page", number, page, written[number]);
        fill(page, number, written[number] + 1ULL);
        written[number]++;
        pages_done++;
}

static void work_block(struct disk *disk, uint64_t *buffer) {
        uint64_t number = disk->at;
        off_t at = (off_t)number * PAGE;

        disk->at = (disk->at + STRIDE) % disk->n;
        if (disk->written[number]) {
                if (pread(disk->fd, buffer, PAGE, at) != PAGE || !is_as_filled(buffer, number, disk->written[number]))
                        say_bad("block", number, buffer, disk->written[number]);
        }
        memset(buffer, 0, PAGE);
        fill(buffer, number, disk->written[number] + 1ULL);
        if (pwrite(disk->fd, buffer, PAGE, at) != PAGE) {
                printf("work: block %llu: %s\n", (unsigned long long)number, strerror(errno));
                bad++;
        }
        disk->written[number]++;
        blocks_done++;
}

static int open_disk(struct disk *disk, const char *path) {
        uint64_t octets;

        disk->fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
        if (disk->fd < 0 || ioctl(disk->fd, BLKGETSIZE64, &octets) < 0)
                return -1;
        disk->n = octets / PAGE < BLOCKS_MAX ? octets / PAGE : BLOCKS_MAX;
        disk->n -= disk->n % STRIDE == 0; /* so that the walk comes to every block */
        disk->written = calloc(disk->n, sizeof *disk->written);
        return disk->written ? 0 : -1;
}

static void beat(void) {
        printf("work: pages=%llu blocks=%llu bad=%llu\n", (unsigned long long)pages_done,
               (unsigned long long)blocks_done, (unsigned long long)bad);
        fflush(stdout);
}

static uint64_t now_ms(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void work(uint64_t *memory, uint32_t *written, uint64_t pages, uint64_t a_tick, struct disk *disks, int n,
                 uint64_t *buffer) {
        uint64_t number = 0, told = now_ms();

        for (;;) {
                uint64_t began = now_ms();

                for (uint64_t i = 0; i < a_tick; i++, number = (number + 1) % pages)
                        work_page(memory, written, number);
                for (int d = 0; d < n; d++)
                        for (int i = 0; i < BLOCKS_A_TICK; i++)
                                work_block(&disks[d], buffer);
                if (now_ms() - told >= 1000) {
                        beat();
                        told = now_ms();
                }
                if (now_ms() - began < 1000 / TICKS)
                        usleep((useconds_t)(1000 / TICKS - (now_ms() - began)) * 1000);
        }
}

int main(int argc, char **argv) {
        uint64_t pages = argc > 2 ? strtoull(argv[1], NULL, 10) * 256 : 0,
                 rate = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
        struct disk disks[DISKS_MAX] = {0};
        int n = argc > 3 ? argc - 3 : 0;
        uint32_t *written = calloc(pages + 1, sizeof *written);
        uint64_t *memory, *buffer;

        memory = mmap(NULL, (pages + 1) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        buffer = aligned_alloc(PAGE, PAGE);
        if (!pages || n > DISKS_MAX || memory == MAP_FAILED || !written || !buffer) {
                fprintf(stderr, "guest-work MIB PAGES_A_SECOND [DISK..]\n");
                return 2;
        }
        for (int d = 0; d < n; d++)
                if (open_disk(&disks[d], argv[3 + d]) < 0) {
                        printf("work: %s: %s\n", argv[3 + d], strerror(errno));
                        return 1;
                }
        work(memory, written, pages, rate / TICKS + 1, disks, n, buffer);
        return 0;
}
