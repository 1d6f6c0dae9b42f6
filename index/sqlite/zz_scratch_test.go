package sqlite
import ("testing";"database/sql";"os";"fmt";"strings";"time";"path/filepath";"crypto/rand"
_ "modernc.org/sqlite")
func TestScratch(t *testing.T){
 src,_:=os.ReadFile("../../migrations/sqlite/00001_index.sql")
 up,_,_:=strings.Cut(string(src),"-- +goose Down")
 for _,k:=range []int{1,2,4,8,16,32}{
  p:=filepath.Join(t.TempDir(),"a.db")
  db,_:=sql.Open("sqlite","file:"+p+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)")
  db.SetMaxOpenConns(1)
  if _,err:=db.Exec(up);err!=nil{t.Fatal(err)}
  rb:=func(n int)[]byte{b:=make([]byte,n);rand.Read(b);return b}
  ins:=func(table string,cols int)string{return "INSERT INTO "+table+" VALUES "+strings.TrimSuffix(strings.Repeat("("+strings.TrimSuffix(strings.Repeat("?,",cols),",")+"),",k),",")}
  st:=time.Now()
  tx,_:=db.Begin()
  var d [4]time.Duration
  for i:=0;i<1000;i+=k{
   var a,b,c,e []any
   for j:=i;j<i+k;j++{ id:=int64(j+1)
    a=append(a,id,rb(32),"seen",nil,0,0,rb(40),rb(34),rb(36))
    b=append(b,id,id,1,"seen",nil,0,"valid","im","message",nil,rb(32),rb(32),rb(20),[]byte("1BoatSLRHtKNngkdXEeobR76b53LETtpyT"),[]byte("text"),[]byte("plain"),nil,nil,nil,nil,[]byte("to=1abc"),[]byte("1234567890123"),1234567890123,rb(88),nil,rb(33),nil,rb(33),nil,0)
    c=append(c,id,rb(200))
    e=append(e,rb(20),id)
   }
   for n,q:=range []struct{s string;c int;a []any}{{"txs",9,a},{"frames",30,b},{"bodies",2,c},{"parties",2,e}}{
    s:=time.Now()
    if _,err:=tx.Exec(ins(q.s,q.c),q.a...);err!=nil{t.Fatal(err)}
    d[n]+=time.Since(s)
   }
  }
  s:=time.Now()
  tx.Commit()
  fmt.Println(k,time.Since(st),d,time.Since(s))
  db.Close()
 }
}
