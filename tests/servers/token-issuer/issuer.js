// An OAuth 2.0 token issuer: oauth2-mock-server, which signs the tokens, behind the checks that a real issuer makes.
//
//   node issuer.js CONFIG PORT
//
// oauth2-mock-server accepts every client and every refresh token, and knows no assertions. This program authenticates
// the client (form, HTTP Basic, private_key_jwt), verifies the assertion of the jwt-bearer grant, and makes each refresh
// token valid once. Assertions are verified by `jose`.
//
// A request can ask for an unusual answer by further form fields:
//
//   test_mark             text for the log line of this request
//   test_mailbox          the subject of the token
//   test_lifetime         seconds until the token expires
//   test_expires_in       the seconds that the answer claims
//   test_status, test_error, test_error_description    refuse with this status and these texts
//   test_failures         refuse only so many requests with this test_mark, then answer
//   test_refresh=fixed    the answer has no new refresh token, and the old one stays valid
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const https = require('node:https');
const { decodeProtectedHeader, jwtVerify } = require('jose');
const { OAuth2Server } = require('oauth2-mock-server');

const config = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const port = Number(process.argv[3]);
const { issuer, service } = new OAuth2Server();
issuer.url = `https://${config.host}:${port}`;
const tokenEndpoint = `${issuer.url}/token`;

const CLIENT_ASSERTION = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const CODE_LIFETIME = 3600;

/** Authorization codes, and refresh tokens that may be used, with their mailbox. */
const codes = new Map();
const refreshTokens = new Map();
/** The `jti` of each client assertion. */
const assertions = new Set();
/** The number of requests refused because of `test_failures`, by `test_mark`. */
const failures = new Map();

/** A refusal as in RFC 6749, section 5.2. */
class Refusal extends Error {
    constructor(status, error, description) {
        super(description);
        Object.assign(this, { status, error });
    }
}

/** How the client proved who it is: RFC 6749, section 2.3, and RFC 7523. */
async function authenticateClient(request, form) {
    if (form.client_assertion !== undefined) {
        await verifyClientAssertion(form);
        return 'private_key_jwt';
    }
    let [method, id, secret] = ['post', form.client_id, form.client_secret];
    const basic = /^Basic (.*)$/.exec(request.headers.authorization ?? '');
    if (basic) {
        if (secret !== undefined) throw new Refusal(400, 'invalid_request', 'two ways of authentication');
        const pair = Buffer.from(basic[1], 'base64').toString('utf8');
        const decode = (text) => decodeURIComponent(text.replaceAll('+', ' '));
        method = 'basic';
        [id, secret] = [pair.slice(0, pair.indexOf(':')), pair.slice(pair.indexOf(':') + 1)].map(decode);
    }
    if (id !== config.client_id) {
        throw new Refusal(400, 'unauthorized_client', `the application "${id}" was not found`);
    }
    if (secret !== config.client_secret) throw new Refusal(401, 'invalid_client', 'invalid client secret provided');
    return method;
}

async function verifyClientAssertion(form) {
    if (form.client_assertion_type !== CLIENT_ASSERTION) {
        throw new Refusal(400, 'invalid_request', 'unknown client_assertion_type');
    }
    const certificate = new crypto.X509Certificate(config.client_certificate);
    const header = decodeProtectedHeader(form.client_assertion);
    const thumbprint = crypto.createHash('sha256').update(certificate.raw).digest('base64url');
    if (header['x5t#S256'] !== thumbprint) {
        throw new Refusal(401, 'invalid_client', 'no certificate with this thumbprint');
    }
    const claims = await verify(form.client_assertion, certificate.publicKey, 'PS256', config.client_id, 'invalid_client');
    if (claims.sub !== config.client_id || claims.exp - claims.nbf > 660) {
        throw new Refusal(401, 'invalid_client', 'the assertion has a wrong subject or is valid for too long');
    }
    if (typeof claims.jti !== 'string' || assertions.has(claims.jti)) {
        throw new Refusal(401, 'invalid_client', 'the assertion was used before');
    }
    assertions.add(claims.jti);
}

/** The subject of the assertion of a service account: RFC 7523, with the limits of Google. */
async function verifyServiceAccount(form) {
    const { client_email: email, public_key: pem } = config.service_account;
    const claims = await verify(form.assertion, crypto.createPublicKey(pem), 'RS256', email, 'invalid_grant');
    if (!(claims.exp - claims.iat <= 3600)) throw new Refusal(400, 'invalid_grant', 'the assertion is valid for too long');
    if (claims.scope === undefined) throw new Refusal(400, 'invalid_scope', 'the assertion has no scope');
    return claims.sub ?? email;
}

async function verify(assertion, key, algorithm, issuedBy, error) {
    try {
        const options = {
            algorithms: [algorithm], issuer: issuedBy, audience: tokenEndpoint, typ: 'JWT',
            requiredClaims: ['exp', 'iss', 'aud'],
        };
        return (await jwtVerify(assertion ?? '', key, options)).payload;
    } catch (failure) {
        throw new Refusal(error === 'invalid_client' ? 401 : 400, error, failure.message);
    }
}

/** The mailbox that the token is for. */
async function authorize(form) {
    switch (form.grant_type) {
        case 'client_credentials':
            if (!form.scope) throw new Refusal(400, 'invalid_scope', 'the request has no scope');
            return form.test_mailbox ?? config.mailbox;
        case JWT_BEARER:
            return verifyServiceAccount(form);
        case 'refresh_token': {
            const mailbox = refreshTokens.get(form.refresh_token);
            if (mailbox === undefined) {
                throw new Refusal(400, 'invalid_grant', 'the refresh token is unknown or was used before');
            }
            return mailbox;
        }
        case 'authorization_code': {
            const mailbox = codes.get(form.code);
            if (!codes.delete(form.code)) throw new Refusal(400, 'invalid_grant', 'the code is unknown or was used before');
            return mailbox;
        }
        default:
            throw new Refusal(400, 'unsupported_grant_type', `no grant "${form.grant_type}"`);
    }
}

function refuseIfAsked(form) {
    if (form.test_status === undefined) return;
    const refused = failures.get(form.test_mark) ?? 0;
    if (form.test_failures !== undefined && refused >= Number(form.test_failures)) return;
    failures.set(form.test_mark, refused + 1);
    throw new Refusal(Number(form.test_status), form.test_error ?? 'temporarily_unavailable',
        form.test_error_description ?? 'as the test asked for');
}

async function token(request, response, form) {
    const line = {
        grant_type: form.grant_type, client_id: form.client_id, scope: form.scope, mark: form.test_mark,
    };
    try {
        // The assertion of a service account says itself who the client is.
        line.client_auth = form.grant_type === JWT_BEARER ? 'assertion' : await authenticateClient(request, form);
        refuseIfAsked(form);
        line.mailbox = await authorize(form);
        request.mailbox = line.mailbox;
        log({ ...line, status: 200 });
        if (form.grant_type === JWT_BEARER) {
            await answerInChunks(request, response, form);
        } else {
            // oauth2-mock-server's parser leaves a parsed body alone.
            request.body = form;
            request._body = true;
            service.requestHandler(request, response);
        }
    } catch (refusal) {
        if (!(refusal instanceof Refusal)) throw refusal;
        log({ ...line, status: refusal.status, error: refusal.error, error_description: refusal.message });
        response.writeHead(refusal.status, { 'Content-Type': 'application/json' });
        response.end(JSON.stringify({ error: refusal.error, error_description: refusal.message }));
    }
}

/** oauth2-mock-server does not know this grant, but its issuer signs the token. Chunked, as Google answers. */
async function answerInChunks(request, response, form) {
    request.body = form;
    const answer = { access_token: await service.buildToken(request, CODE_LIFETIME, ''), token_type: 'Bearer' };
    answer.expires_in = Number(form.test_expires_in ?? form.test_lifetime ?? CODE_LIFETIME);
    response.writeHead(200, { 'Content-Type': 'application/json; charset=UTF-8' });
    for (const part of JSON.stringify(answer).match(/.{1,200}/g)) response.write(part);
    response.end();
}

service.on('beforeTokenSigning', ({ payload }, { body, mailbox }) => {
    payload.sub = mailbox;
    if (body.test_lifetime !== undefined) payload.exp = payload.iat + Number(body.test_lifetime);
    // Dovecot refuses what was issued in its future, and the clock of its event loop may be a moment behind this one.
    payload.iat = payload.nbf;
});

service.on('beforeResponse', ({ body: answer }, { body: form, mailbox }) => {
    delete answer.id_token;
    answer.expires_in = Number(form.test_expires_in ?? form.test_lifetime ?? answer.expires_in);
    if (form.grant_type === 'refresh_token') {
        if (form.test_refresh === 'fixed') delete answer.refresh_token;
        else refreshTokens.delete(form.refresh_token);
    }
    if (answer.refresh_token !== undefined) refreshTokens.set(answer.refresh_token, mailbox);
});

/** A person who logs in; `login_hint` names the mailbox. */
service.on('beforeAuthorizeRedirect', ({ url }, { query }) => {
    codes.set(url.searchParams.get('code'), query.login_hint ?? config.mailbox);
});

function log(line) {
    fs.appendFileSync(config.log, JSON.stringify(line) + '\n');
}

async function serve(request, response) {
    if (request.method !== 'POST' || request.url !== '/token') return service.requestHandler(request, response);
    const parts = [];
    for await (const part of request) parts.push(part);
    const fields = new URLSearchParams(Buffer.concat(parts).toString('utf8'));
    return token(request, response, Object.fromEntries(fields));
}

async function main() {
    const jwk = crypto.createPrivateKey(config.signing_key).export({ format: 'jwk' });
    await issuer.keys.add({ ...jwk, alg: 'RS256', kid: config.signing_key_id });
    const options = { key: fs.readFileSync(config.tls_key), cert: fs.readFileSync(config.tls_certificate) };
    https.createServer(options, (request, response) => {
        serve(request, response).catch((failure) => {
            console.error(failure);
            response.destroy();
        });
    }).listen(port, '127.0.0.1');
}

main();
