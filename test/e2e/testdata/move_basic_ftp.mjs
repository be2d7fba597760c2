// Moves one file each way with basic-ftp, an unmodified client library from npm,
// and lists the folder. Its parts resume where they are told to.
//
//   node move_basic_ftp.mjs {"module": …, "host": …, …}
import { readFileSync, statSync } from "node:fs"
import { pathToFileURL } from "node:url"

const o = JSON.parse(process.argv[2])
const { default: ftp } = await import(pathToFileURL(o.module))
const client = new ftp.Client(20000)
try {
    await client.access({
        host: o.host, port: o.port, user: o.user, password: o.password,
        secure: { plain: false, explicit: true, implicit: "implicit" }[o.channel],
        secureOptions: { ca: readFileSync(o.ca), host: o.host, servername: o.host },
    })
    await client.cd(o.folder)
    if (o.resume) {
        await client.downloadTo(o.got, o.down, statSync(o.got).size)
    } else {
        await client.uploadFrom(o.local, o.up)
        await client.downloadTo(o.got, o.down)
        for (const entry of await client.list()) console.log(entry.name)
    }
} catch (err) {
    console.error(err)
    process.exitCode = 1
} finally {
    client.close()
}
