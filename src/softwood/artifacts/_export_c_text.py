"""The fixed parts of an exported C file. They are written for whoever reads that file."""

from __future__ import annotations

HEADER = """\
/*
 * {summary}
 *
 * Softwood model {fingerprint}. C99, no dependency beyond the C library; one file to add to a program.
 *
 * In a program:   fill a struct softwood_row, call the functions declared below; they are thread-safe
 * By itself:      cc -std=c99 -O2 -DSOFTWOOD_MAIN FILE.c -o model -lm
 *                 ./model < table.csv > answers.csv
 *
 * A row goes left (into the "if") when its value is at most the threshold, compared as a 64-bit float, or when its
 * text is in the set. Missing are NAN, NULL and ""; a text that was not seen in training counts as missing. Which
 * way they go differs from test to test: "!(x > 1)" and "!listed(...)" take them in, "x <= 1" and "listed(...)" do
 * not. Thresholds that a decimal number does not give exactly are hexadecimal, with the decimal beside them.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef __FAST_MATH__
#error "compile without -ffast-math: missing values are NAN, and -ffast-math assumes there are none"
#endif
"""

COMPARE = """\
static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}
"""

LISTED = """\
/* Whether a text is in a sorted list; NULL and "" never are. */
static int listed(const char *text, const char *const list[], size_t count)
{
    return text != NULL && bsearch(&text, list, count, sizeof list[0], compare_text) != NULL;
}
"""

LEVEL = """\
/* The place of a text in a sorted list, NAN if it is not there. */
static double level(const char *text, const char *const list[], size_t count)
{
    const char *const *found = text == NULL ? NULL : bsearch(&text, list, count, sizeof list[0], compare_text);
    return found == NULL ? NAN : (double)(found - list);
}
"""

NESTED = """\
/* The sum of the base and what each tree answers. */
static void add_trees(const struct softwood_row *row, double total[])
{
    memcpy(total, base, sizeof base);
    for (size_t t = 0; t < sizeof trees / sizeof trees[0]; t++) {
        const double *answer = trees[t](row);
        for (int k = 0; k < SOFTWOOD_OUTPUTS; k++)
            total[k] += answer[k];
    }
}
"""

TABLES = """\
/* The values of the leaf that a row reaches from a node. */
static const double *walk(const double cell[], int node)
{
    while (feature[node] >= 0) {
        double value = cell[feature[node]];
        int goes_left;
        if (isnan(value))
            goes_left = missing_left[node];
        else if (set_of[node] >= 0)
            goes_left = sets[set_of[node]][(int)value] == '1';
        else
            goes_left = value <= threshold[node];
        node = goes_left ? left[node] : right[node];
    }
    return values[leaf[node]];
}

/* The sum of the base and what each tree answers. */
static void add_trees(const struct softwood_row *row, double total[])
{
    double cell[CELLS];
    read_cells(row, cell);
    memcpy(total, base, sizeof base);
    for (size_t t = 0; t < sizeof roots / sizeof roots[0]; t++) {
        const double *answer = walk(cell, roots[t]);
        for (int k = 0; k < SOFTWOOD_OUTPUTS; k++)
            total[k] += answer[k];
    }
}
"""

# ------------------------------------------------------------------ what the file offers
CLASSIFIER_FACE = """\
/* The labels, in the order of the probabilities. */
extern const char *const softwood_classes[SOFTWOOD_CLASSES];

/* The place of a row's label in softwood_classes. */
int softwood_predict(const struct softwood_row *row);

/* The probability of each class. */
void softwood_predict_proba(const struct softwood_row *row, double probability[SOFTWOOD_CLASSES]);
"""

REGRESSION_FACE = """\
/* The values of a row, SOFTWOOD_OUTPUTS of them: {outputs}. */
void softwood_predict(const struct softwood_row *row, double value[SOFTWOOD_OUTPUTS]);
"""

# The sums are compared, not the probabilities, as the model itself does it
BEST_OF_ONE = """\
static int best(const double total[])
{
    return total[0] > %s;
}
"""

BEST_OF_SEVERAL = """\
/* The largest sum, the first of equal ones. */
static int best(const double total[])
{
    int found = 0;
    for (int k = 1; k < SOFTWOOD_OUTPUTS; k++)
        if (total[k] > total[found])
            found = k;
    return found;
}
"""

PROBABILITIES = {
    "sigmoid": """\
    double power = exp(-fabs(total[0]));
    probability[1] = (total[0] >= 0 ? 1.0 : power) / (1.0 + power);
    probability[0] = 1.0 - probability[1];
""",
    "softmax": """\
    double highest = total[best(total)], sum = 0.0;
    for (int k = 0; k < SOFTWOOD_CLASSES; k++)
        sum += probability[k] = exp(total[k] - highest);
    for (int k = 0; k < SOFTWOOD_CLASSES; k++)
        probability[k] /= sum;
""",
    "one probability": """\
    probability[1] = total[0];
    probability[0] = 1.0 - total[0];
""",
    "probability": """\
    memcpy(probability, total, sizeof base);
""",
}

CLASSIFIER = """\
int softwood_predict(const struct softwood_row *row)
{
    double total[SOFTWOOD_OUTPUTS];
    add_trees(row, total);
    return best(total);
}

void softwood_predict_proba(const struct softwood_row *row, double probability[SOFTWOOD_CLASSES])
{
    double total[SOFTWOOD_OUTPUTS];
    add_trees(row, total);
%s}
"""

EXPONENTIAL = """\
    for (int k = 0; k < SOFTWOOD_OUTPUTS; k++)
        value[k] = exp(value[k]);
"""

REGRESSION = """\
void softwood_predict(const struct softwood_row *row, double value[SOFTWOOD_OUTPUTS])
{
    add_trees(row, value);
%s}
"""
