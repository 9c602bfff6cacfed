/* Asks a policy outside the gateway: settings, facts, lists, the store and answers of DNS are the test's, and what the policy did is
 * written down. A test is a program; any C compiler of this machine makes it, also zig:
 *
 *   cc -I sdk -o test_policy tests/test_policy.c policy.c sdk/testing.c && ./test_policy
 *
 * It says what the gateway knows, calls a function of the policy and looks at what came of it:
 *
 *   secmx_play((secmx_world){.settings = "{\"words\": [\"secret\"]}", .facts = {{"text Subject", "a secret plan"}}});
 *   SECMX_RULED(secmx_inspect(SECMX_SESSION, SECMX_MESSAGE), "quarantine subject.word: the subject has \"secret\"");
 *   return secmx_failed();
 */
#ifndef SECMX_TESTING_H
#define SECMX_TESTING_H

#include "secmx.h"

typedef struct { const char *name, *value; } secmx_pair;

/* What the gateway would know. What is left out is empty. */
typedef struct {
  const char *settings; /* JSON */
  uint64_t now;         /* seconds since 1970 */
  /* What methods answer: their name as in wit/, behind it what they are asked about, and the answer; more than one where the answer is a
   * list. Addresses are local-part@domain, parameters KEYWORD=value, yes and no are "true" and "false", and what is named in wit/ is "secure-only" or "domain". Parts,
   * exchangers and channels are {"parts", content type}, {"exchangers", name}, {"channel", level}: a test that needs more of them, or an
   * answer that depends on something, defines the method itself and thereby replaces the one that is here. */
  secmx_pair facts[64];
  secmx_pair lists[64]; /* name of a list, and a member in lower case */
  secmx_pair dns[64];   /* "known.test TXT", and a value, or one of "none", "servfail", "bogus"; what is not given ends the test */
  secmx_pair store[64]; /* what the store holds before */
} secmx_world;

/* Begins anew in this world: settings are read again, and nothing has been done. */
void secmx_play(secmx_world world);

#define SECMX_SESSION ((secmx_session){0})
#define SECMX_MESSAGE ((secmx_message){0})
#define SECMX_DESTINATION ((secmx_destination){0})

/* Whether the policy did this, since the world began: "set-role secure-only", "add-field X-Seen: yes", "set-tag class=secret",
 * "add-evidence 0@12 4111…", "count seen 1", "log warn it is late". */
bool secmx_did(const char *line);
/* What is in the store now, else NULL. */
const char *secmx_stored(const char *key);
/* A ruling as a line: "pass", "quarantine dlp.iban: iban in part 0", "reject 550 5.7.1 Not here (rule.name: Not here)". */
const char *secmx_line(secmx_ruling ruling);

/* Looks whether something is so. When it is not, that is said with file and line, and everything that the policy did. */
#define SECMX_EXPECT(...) secmx_expect((__VA_ARGS__), #__VA_ARGS__, __FILE__, __LINE__)
/* Looks whether a ruling is this line. */
#define SECMX_RULED(ruling, line) secmx_expect_line(secmx_line(ruling), line, __FILE__, __LINE__)
void secmx_expect(bool so, const char *what, const char *file, int line);
void secmx_expect_line(const char *got, const char *expected, const char *file, int line);
/* How many of them were not so, for `main` to return. */
int secmx_failed(void);

#endif
