// Does what it is asked on standard input, a JSON object a line, with the
// programs of others: @bsv/sdk, jose and Node's own crypto. Answers a line each.
import { createInterface } from 'node:readline'
import { createCipheriv, createECDH, createHash, webcrypto } from 'node:crypto'
import { Beef, BSM, ECIES, MerklePath, PrivateKey, PublicKey, Signature, Transaction } from '@bsv/sdk'
import * as jose from 'jose'

globalThis.crypto ??= webcrypto // Node 18 has it under this name only

const bytes = (base64) => Buffer.from(base64, 'base64')
const text = (array) => Buffer.from(array).toString('base64')
const cek = { alg: 'RSA-OAEP-256', enc: 'A256GCM' }

const operations = {
  eccEncrypt: ({ to, plain }) => text(ECIES.electrumEncrypt([...bytes(plain)], PublicKey.fromString(to))),
  eccDecrypt: ({ key, body }) => text(ECIES.electrumDecrypt([...bytes(body)], PrivateKey.fromHex(key))),

  sign: ({ key, plain }) => BSM.sign([...bytes(plain)], PrivateKey.fromHex(key)),
  verify: ({ to, plain, body }) =>
    String(BSM.verify([...bytes(plain)], Signature.fromCompact(body, 'base64'), PublicKey.fromString(to))),

  // What the framework author's library does with BouncyCastle and .NET.
  ecdhaesEncrypt: ({ key, to, plain }) => {
    const mine = createECDH('secp256k1')
    mine.setPrivateKey(key, 'hex')
    const theirs = bytes(to)
    const iv = Buffer.alloc(16)
    createHash('sha256').update(mine.getPublicKey().map((c, i) => c ^ theirs[i])).digest().copy(iv, 0, 0, 15)
    const cipher = createCipheriv('aes-256-cbc', mine.computeSecret(theirs), iv)
    return Buffer.concat([cipher.update(bytes(plain)), cipher.final()]).toString('base64')
  },

  // Reads a BEEF and verifies it where the root "to" stands at the height "cost".
  beefRead: async ({ to, cost, body }) => {
    const chain = { isValidRootForHeight: async (root, height) => root === to && height === cost, currentHeight: async () => cost }
    const tx = Transaction.fromHexBEEF(body)
    const valid = (await tx.verify(chain)) && (await Beef.fromString(body, 'hex').verify(chain))
    return [tx.id('hex'), tx.toHex(), tx.merklePath.toHex(), String(valid)].join(' ')
  },
  bumpRoot: ({ key, body }) => MerklePath.fromHex(body).computeRoot(key),

  rsaEncrypt: async ({ jwks, plain }) => {
    const keys = await Promise.all(jwks.map((jwk) => jose.importJWK(jwk, 'RSA-OAEP-256')))
    if (keys.length === 1) {
      return await new jose.CompactEncrypt(bytes(plain)).setProtectedHeader(cek).encrypt(keys[0])
    }
    const all = new jose.GeneralEncrypt(bytes(plain)).setProtectedHeader({ enc: cek.enc })
    keys.forEach((key) => all.addRecipient(key).setUnprotectedHeader({ alg: cek.alg }))
    return JSON.stringify(await all.encrypt())
  },
  rsaDecrypt: async ({ jwks, body }) => {
    const key = await jose.importJWK(jwks[0], 'RSA-OAEP-256')
    const opened = body.startsWith('{') ? await jose.generalDecrypt(JSON.parse(body), key) : await jose.compactDecrypt(body, key)
    return text(opened.plaintext)
  },
  thumbprint: ({ jwks }) => jose.calculateJwkThumbprint(jwks[0]),

  aesEncrypt: async ({ key, alg, cost, plain }) => {
    const sealed = new jose.CompactEncrypt(bytes(plain)).setProtectedHeader({ alg, enc: cek.enc })
    if (cost) sealed.setKeyManagementParameters({ p2c: cost })
    return await sealed.encrypt(bytes(key))
  },
  aesDecrypt: async ({ key, alg, body }) =>
    text((await jose.compactDecrypt(body, bytes(key), { keyManagementAlgorithms: [alg], maxPBES2Count: 1e6 })).plaintext),
}

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line)
  let answer
  try {
    answer = { result: await operations[asked.do](asked) }
  } catch (e) {
    answer = { error: String(e.message ?? e) }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
