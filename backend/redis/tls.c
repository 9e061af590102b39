/* TLS by hiredis_ssl, with a context of our own: hiredis checks that somebody trusted signed the certificate, but not
 * whose it is, and its errors do not tell what was wrong.
 *
 * A record is at most as long as what hiredis reads at once, and OpenSSL reads no further than the record: so nothing
 * is left inside of it that the kernel would not report. */
#include "backend/redis/tls.h"

#include "backend/redis/wire_internal.h"

#include <arpa/inet.h>
#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tls {
	SSL_CTX *ctx;
};

/* The functions of hiredis_ssl, and those with ours around them. */
static redisContextFuncs theirs, ours;

/* --- the files --- */

static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)arg;
	return -1;
}

static bool cannot_use(const char *option, const char *path, char *why, size_t size)
{
	unsigned long e = ERR_peek_error();
	const char *text = ERR_SYSTEM_ERROR(e) ? strerror(ERR_GET_REASON(e)) : ERR_reason_error_string(e);

	snprintf(why, size, "cannot use %s=%.150s: %s", option, path, text ? text : "nothing of use in it");
	return false;
}

static bool load(SSL_CTX *ctx, const struct tls_files *files, char *why, size_t size)
{
	const char *key = files->key ? files->key : files->cert;

	if (files->key && !files->cert) {
		snprintf(why, size, "tls_key= without tls_cert=");
		return false;
	}
	if (files->ca && SSL_CTX_load_verify_locations(ctx, files->ca, NULL) != 1)
		return cannot_use("tls_ca", files->ca, why, size);
	if (!files->ca && SSL_CTX_set_default_verify_paths(ctx) != 1)
		return false;
	if (!files->cert)
		return true;
	if (SSL_CTX_use_certificate_chain_file(ctx, files->cert) != 1)
		return cannot_use("tls_cert", files->cert, why, size);
	/* Says also whether it is the one to the certificate. */
	if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
		return cannot_use(files->key ? "tls_key" : "tls_cert", key, why, size);
	return true;
}

struct tls *tls_new(const struct tls_files *files, char *why, size_t size)
{
	struct tls *t = calloc(1, sizeof(*t));

	snprintf(why, size, "out of memory");
	if (!t)
		return NULL;
	ERR_clear_error();
	t->ctx = SSL_CTX_new(TLS_client_method());
	if (!t->ctx || SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION) != 1) {
		tls_free(t);
		return NULL;
	}
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_options(t->ctx, SSL_OP_NO_RENEGOTIATION);
	/* Or it would be asked for on the terminal. */
	SSL_CTX_set_default_passwd_cb(t->ctx, no_passphrase);
	if (!load(t->ctx, files, why, size)) {
		tls_free(t);
		t = NULL;
	}
	ERR_clear_error();
	return t;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	SSL_CTX_free(t->ctx);
	free(t);
}

/* --- a connection --- */

static bool is_alert(unsigned long e)
{
	return ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) >= SSL_AD_REASON_OFFSET;
}

/* It may have said why before it hung up on what we were writing. */
static unsigned long last_words(SSL *ssl)
{
	unsigned long e = ERR_peek_error();
	char byte;

	if (e)
		return e;
	(void)SSL_peek(ssl, &byte, 1);
	e = ERR_peek_error();
	return is_alert(e) ? e : 0;
}

static ssize_t failed(redisContext *c)
{
	struct lane *l = ((redisAsyncContext *)c)->data;
	long verdict = SSL_get_verify_result(l->ssl);
	unsigned long e = last_words(l->ssl);
	int reason = ERR_GET_LIB(e) == ERR_LIB_SSL ? ERR_GET_REASON(e) : 0;
	const char *text = ERR_reason_error_string(e);

	l->refused = true;
	if (verdict == X509_V_ERR_HOSTNAME_MISMATCH || verdict == X509_V_ERR_IP_ADDRESS_MISMATCH) {
		snprintf(c->errstr, sizeof(c->errstr), "its certificate is for another host");
	} else if (verdict != X509_V_OK) {
		snprintf(c->errstr, sizeof(c->errstr), "its certificate is not trusted: %.80s",
			 X509_verify_cert_error_string(verdict));
	} else if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_PACKET_LENGTH_TOO_LONG) {
		snprintf(c->errstr, sizeof(c->errstr), "it does not speak TLS");
	} else if (is_alert(e)) {
		snprintf(c->errstr, sizeof(c->errstr), "it refuses TLS with us: %.80s", text ? text : "an alert");
	} else {
		l->refused = false;
		if (!SSL_is_init_finished(l->ssl))
			snprintf(c->errstr, sizeof(c->errstr), "connection closed in the TLS handshake");
		else if (text && reason != SSL_R_UNEXPECTED_EOF_WHILE_READING)
			snprintf(c->errstr, sizeof(c->errstr), "TLS: %.80s", text);
		else
			snprintf(c->errstr, sizeof(c->errstr), "connection closed");
	}
	if (!c->err)
		c->err = REDIS_ERR_IO;
	ERR_clear_error();
	return -1;
}

/* What stands in OpenSSL's queue of errors would be taken for one of this call. */
static ssize_t read_checked(redisContext *c, char *buf, size_t size)
{
	ssize_t n;

	ERR_clear_error();
	n = theirs.read(c, buf, size);
	return n < 0 ? failed(c) : n;
}

static ssize_t write_checked(redisContext *c)
{
	struct lane *l = ((redisAsyncContext *)c)->data;
	ssize_t n;

	ERR_clear_error();
	n = theirs.write(c);
	/* Nothing was written and nothing is waited for: it would be tried for ever. */
	return n < 0 || (n == 0 && SSL_want_nothing(l->ssl)) ? failed(c) : n;
}

static bool names_host(SSL *ssl, const char *host)
{
	struct in6_addr any;

	if (inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

bool tls_begin(struct tls *t, struct lane *l, const char *host)
{
	redisContext *c = &l->ac->c;
	SSL *ssl = SSL_new(t->ctx);

	if (!ssl || !names_host(ssl, host) || redisInitiateSSL(c, ssl) != REDIS_OK) {
		SSL_free(ssl);
		ERR_clear_error();
		return false;
	}
	l->ssl = ssl;
	if (!ours.read) {
		theirs = ours = *c->funcs;
		ours.read = read_checked;
		ours.write = write_checked;
	}
	c->funcs = &ours;
	return true;
}

bool tls_unfinished(const struct lane *l)
{
	return l->ssl && !SSL_is_init_finished(l->ssl);
}

const char *tls_library(void)
{
	static char text[80];

	snprintf(text, sizeof(text), "with TLS (%.60s)", OpenSSL_version(OPENSSL_VERSION));
	return text;
}
