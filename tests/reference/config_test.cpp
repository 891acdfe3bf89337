// Headers: what is accepted, and what each refusal names.

#include <gtest/gtest.h>

#include "config.hpp"
#include "tiny_model.hpp"

namespace llama512::test {
namespace {

using Values = std::array<std::int64_t, 7>;
// dim hidden_dim n_layers n_heads n_kv_heads vocab_size seq_len
constexpr Values kGood = {64, 172, 5, 8, 4, 512, 512};

std::string error_of_values(const Values& values) {
    return error_of([&] { parse_config(values, "m.bin"); });
}

TEST(Config, HasTheFieldsInTheOrderOfTheHeader) {
    const Config config = parse_config(kGood, "m.bin");
    EXPECT_EQ(config.dim, 64u);
    EXPECT_EQ(config.hidden_dim, 172u);
    EXPECT_EQ(config.n_layers, 5u);
    EXPECT_EQ(config.n_heads, 8u);
    EXPECT_EQ(config.n_kv_heads, 4u);
    EXPECT_EQ(config.vocab_size, 512u);
    EXPECT_EQ(config.seq_len, 512u);
    EXPECT_EQ(config.head_size(), 8u);
    EXPECT_EQ(config.kv_dim(), 32u);
    EXPECT_EQ(config.heads_per_kv_head(), 2u);
}

TEST(Config, RefusesZeroNegativeAndHugeValuesOfEveryField) {
    const char* const names[] = {"dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len"};
    for (std::size_t i = 0; i < kGood.size(); i++) {
        for (const std::int64_t bad : {0, -1, INT32_MIN, 100'000'000, INT32_MAX}) {
            Values values = kGood;
            values[i] = bad;
            const std::string start = std::string("m.bin: ") + names[i] + ": " + std::to_string(bad) + ", ";
            EXPECT_EQ(error_of_values(values).substr(0, start.size()), start);
        }
    }
}

TEST(Config, RefusesHeadsThatDoNotDivide) {
    EXPECT_EQ(error_of_values({64, 172, 5, 7, 7, 512, 512}), "m.bin: n_heads: 7, a divisor of dim 64 is needed");
    EXPECT_EQ(error_of_values({64, 172, 5, 8, 3, 512, 512}), "m.bin: n_kv_heads: 3, a divisor of n_heads 8 is needed");
    EXPECT_EQ(error_of_values({64, 172, 5, 8, 16, 512, 512}),
              "m.bin: n_kv_heads: 16, a divisor of n_heads 8 is needed");
}

TEST(Config, RefusesAnOddHeadSize) {
    EXPECT_EQ(error_of_values({40, 172, 5, 8, 4, 512, 512}),
              "m.bin: head_size: 5 (dim 40 / n_heads 8), an even number is needed");
}

TEST(Config, NeedsRoomForBos) {
    EXPECT_EQ(error_of_values({64, 172, 5, 8, 4, 1, 512}).substr(0, 22), "m.bin: vocab_size: 1, ");
    EXPECT_EQ(error_of_values({64, 172, 5, 8, 4, 2, 512}), "");
}

}  // namespace
}  // namespace llama512::test
