// Writes the files of Arrow C++ 0.17: see README.md.
#include <arrow/api.h>
#include <arrow/io/api.h>
#include <arrow/ipc/api.h>
#include <arrow/ipc/feather.h>
#include <iostream>
#include <string>
using namespace arrow;
#define CK(x) do { Status s_ = (x); if (!s_.ok()) { std::cerr << s_.ToString() << std::endl; return 1; } } while (0)
int main(int argc, char** argv) {
  std::string folder = argv[1];
  std::string longt; for (int i = 0; i < 4; i++) longt += "a text that is not inlined, ";
  Int32Builder ib; CK(ib.Append(1)); CK(ib.AppendNull()); CK(ib.Append(3));
  StringBuilder sb; CK(sb.Append("a")); CK(sb.AppendNull()); CK(sb.Append(longt));
  DoubleBuilder db; CK(db.Append(1.5)); CK(db.AppendNull()); CK(db.Append(-2.0));
  std::shared_ptr<Array> i, s, d;
  CK(ib.Finish(&i)); CK(sb.Finish(&s)); CK(db.Finish(&d));
  StringDictionaryBuilder dict(default_memory_pool()); CK(dict.Append("x")); CK(dict.Append(longt)); CK(dict.Append("x"));
  std::shared_ptr<Array> c; CK(dict.Finish(&c));
  auto vb = std::make_shared<Int64Builder>();
  ListBuilder lb(default_memory_pool(), vb); CK(lb.Append()); CK(vb->Append(1)); CK(vb->AppendNull()); CK(lb.AppendNull()); CK(lb.Append());
  std::shared_ptr<Array> l; CK(lb.Finish(&l));
  auto n = std::make_shared<NullArray>(3);
  auto sc = schema({field("i", int32()), field("s", utf8()), field("d", float64()), field("c", c->type()), field("n", null()), field("l", l->type())});
  auto table = Table::Make(sc, {i, s, d, c, n, l});
  for (int k = 0; k < 3; k++) {
    ipc::feather::WriteProperties p = ipc::feather::WriteProperties::Defaults();
    p.compression = k == 0 ? Compression::UNCOMPRESSED : k == 1 ? Compression::LZ4_FRAME : Compression::ZSTD;
    std::string name = k == 0 ? "" : k == 1 ? "-lz4" : "-zstd";
    auto r = io::FileOutputStream::Open(folder + "/arrow-0.17.1-feather" + name + ".arrow"); CK(r.status());
    CK(ipc::feather::WriteTable(*table, r.ValueOrDie().get(), p));
    CK(r.ValueOrDie()->Close());
  }
  for (int k = 0; k < 3; k++) {
    auto o = ipc::IpcOptions::Defaults();
    o.compression = k == 0 ? Compression::UNCOMPRESSED : k == 1 ? Compression::LZ4_FRAME : Compression::ZSTD;
    std::string name = k == 0 ? "" : k == 1 ? "-lz4" : "-zstd";
    auto r = io::FileOutputStream::Open(folder + "/arrow-0.17.1" + name + ".arrows"); CK(r.status());
    auto w = ipc::NewStreamWriter(r.ValueOrDie().get(), sc, o); CK(w.status());
    CK(w.ValueOrDie()->WriteTable(*table, 2)); CK(w.ValueOrDie()->Close()); CK(r.ValueOrDie()->Close());
  }
  return 0;
}
