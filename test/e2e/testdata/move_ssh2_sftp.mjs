// Moves one file each way with ssh2-sftp-client, an unmodified client library from
// npm, as a stream and in parallel pieces, and lists the folder.
//
//   node move_ssh2_sftp.mjs {"module": …, "host": …, …}
import { createHash } from "node:crypto"
import { createReadStream, readFileSync } from "node:fs"
import { pathToFileURL } from "node:url"

const o = JSON.parse(process.argv[2])
const { default: Client } = await import(pathToFileURL(o.module))
const client = new Client()
const fingerprint = key => "SHA256:" + createHash("sha256").update(key).digest("base64").replace(/=+$/, "")
const check = (ok, what) => { if (!ok) throw new Error(what) }
try {
    await client.connect({
        host: o.host, port: o.port, username: o.user, privateKey: readFileSync(o.identity), readyTimeout: 20000,
        hostVerifier: key => o.fingerprints.includes(fingerprint(key)),
    })
    const up = o.folder + "/" + o.up, down = o.folder + "/" + o.down
    await client.put(createReadStream(o.local), up)
    const sent = readFileSync(o.local)
    check((await client.get(up)).equals(sent), "get of what was put differs")
    await client.fastPut(o.local, up + ".fast")
    check((await client.get(up + ".fast")).equals(sent), "get of what fastPut put differs")
    await client.delete(up)
    await client.rename(up + ".fast", up)
    await client.append(sent.subarray(0, 1000), up + ".appended")
    await client.append(sent.subarray(1000), up + ".appended")
    check((await client.get(up + ".appended")).equals(sent), "two parts appended differ")
    await client.fastGet(down, o.got)
    check(await client.exists(down) === "-", "exists")
    check(await client.exists(o.folder + "/nothing") === false, "exists, of nothing")
    await client.mkdir(o.folder + "/a/b/c", true)
    await client.rmdir(o.folder + "/a", true)
    for (const entry of await client.list(o.folder)) console.log(entry.name)
} catch (err) {
    console.error(err)
    process.exitCode = 1
} finally {
    await client.end()
}
