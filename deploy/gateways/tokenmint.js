// The key of an answer in NGINX's cache: a hash, so that no token is in a file's name or in its first lines.
import crypto from 'crypto';

function key(r) {
    const names = ['Authorization', 'Cookie'];  // and each of tokenmint's gateway.headers
    const parts = [r.variables.host].concat(names.map((name) => r.headersIn[name] || ''));
    return crypto.createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

export default { key };
