/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target without libFuzzer, so that every build does.
 *
 *      replay CORPUS           every file of the folder, once
 *      replay CORPUS ROUNDS    and then ROUNDS random mutations of them
 *
 * Inputs are handed over in allocations of just their size, for the address
 * sanitizer to see a read past the end.
 */
#include <dirent.h>
#include <stdbool.h>
#include <string.h>

#include "fuzz.h"
#include "prop/seed.h"

enum { INPUTS_MAX = 4096, INPUT_SIZE_MAX = 1 << 17 };

struct input {
        uint8_t *bytes;
        size_t size;
};

static bool input_read(const char *folder, const char *name, struct input *out) {
        char path[512];
        FILE *file;
        bool ok;

        snprintf(path, sizeof path, "%s/%s", folder, name);
        file = fopen(path, "rb");
        out->bytes = malloc(INPUT_SIZE_MAX);
        if (!file || !out->bytes) {
                perror(path);
                return false;
        }
        out->size = fread(out->bytes, 1, INPUT_SIZE_MAX, file);
        ok = !ferror(file);
        fclose(file);
        return ok;
}

static void run(const uint8_t *bytes, size_t size) {
        uint8_t *exact = malloc(size ? size : 1);

        must(exact);
        memcpy(exact, bytes, size);
        LLVMFuzzerTestOneInput(exact, size);
        free(exact);
}

/* A few changes: octets set, bits flipped, a piece taken out, doubled or cut off the end. */
static void mutate(struct dice *dice, const struct input *input) {
        uint8_t *bytes = malloc(2 * input->size + 1);
        size_t size = input->size, at, n;

        must(bytes);
        memcpy(bytes, input->bytes, size);
        for (uint64_t changes = 1 + dice_below(dice, 4); changes && size; changes--) {
                at = dice_below(dice, size);
                n = dice_below(dice, size - at < 24 ? size - at : 24);
                switch (dice_below(dice, 5)) {
                case 0:
                        bytes[at] = (uint8_t)dice_u64(dice);
                        break;
                case 1:
                        bytes[at] ^= (uint8_t)(1 << dice_below(dice, 8));
                        break;
                case 2:
                        memmove(bytes + at, bytes + at + n, size - at - n);
                        size -= n;
                        break;
                case 3:
                        if (size + n > 2 * input->size)
                                break;
                        memmove(bytes + at + n, bytes + at, size - at);
                        size += n;
                        break;
                default:
                        size = at;
                }
        }
        run(bytes, size);
        free(bytes);
}

static size_t corpus_read(const char *folder, struct input *inputs) {
        DIR *dir = opendir(folder);
        struct dirent *entry;
        size_t n = 0;

        if (!dir) {
                perror(folder);
                exit(EXIT_FAILURE);
        }
        while ((entry = readdir(dir)) && n < INPUTS_MAX)
                if (entry->d_name[0] != '.') {
                        if (!input_read(folder, entry->d_name, &inputs[n++]))
                                exit(EXIT_FAILURE);
                        run(inputs[n - 1].bytes, inputs[n - 1].size);
                }
        closedir(dir);
        return n;
}

int main(int argc, char **argv) {
        static struct input inputs[INPUTS_MAX];
        long rounds = argc > 2 ? atol(argv[2]) : 0;
        struct dice dice;
        size_t n;

        if (argc < 2) {
                fprintf(stderr, "usage: replay CORPUS [ROUNDS]\n");
                return 2;
        }
        n = corpus_read(argv[1], inputs);
        printf("# %zu inputs\n", n);
        if (n == 0)
                return EXIT_FAILURE;
        if (rounds > 0)
                dice = dice_new();
        for (long i = 0; i < rounds; i++)
                mutate(&dice, &inputs[dice_below(&dice, n)]);
        for (size_t i = 0; i < n; i++)
                free(inputs[i].bytes);
        return EXIT_SUCCESS;
}
